"""Leases: every strategy is run by one live replica, and no replica by more than its share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.strategy_engine.leases import Lease, Plan, spread


def leases(*holders: str | None) -> list[Lease]:
    return [Lease(f"s{i}", holder) for i, holder in enumerate(holders)]


def test_sole_replica_takes_everything() -> None:
    assert spread(leases(None, None, None), {"a"}, "a") == Plan(("s0", "s1", "s2"))


def test_new_replica_is_given_what_is_above_the_share() -> None:
    all_of_a = leases("a", "a", "a", "a", "a")
    assert spread(all_of_a, {"a", "b"}, "a") == Plan((), {"s4": "b", "s3": "b"})
    assert spread(all_of_a, {"a", "b"}, "b") == Plan()


def test_dead_replicas_strategies_are_taken_up_to_the_share() -> None:
    left = leases("b", None, None, "c")
    assert spread(left, {"b", "c"}, "b") == Plan(("s1",))


@given(
    holders=st.lists(st.sampled_from(["a", "b", "c", None]), max_size=12),
    order=st.lists(st.sampled_from("abc"), min_size=12, max_size=12),
)
def test_after_some_rounds_everything_is_held_and_evenly(
    holders: list[str | None], order: list[str]
) -> None:
    live = set("abc")
    held: dict[str, str | None] = {f"s{i}": holder for i, holder in enumerate(holders)}
    for me in [*order, *"abcabc"]:
        plan = spread([Lease(s, h) for s, h in sorted(held.items())], live, me)
        assert all(held[s] is None for s in plan.take)
        assert all(held[s] == me for s in plan.give)
        held |= dict.fromkeys(plan.take, me) | dict(plan.give)
    counts = [sum(holder == name for holder in held.values()) for name in sorted(live)]
    assert sum(counts) == len(held)
    assert max(counts) <= -(-len(held) // 3)
