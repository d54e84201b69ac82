"""The plan of a chaos session: fixed by its seed, and every kind of fault is in it."""

from __future__ import annotations

from itertools import islice

from tests.chaos.blows import blow_of
from tests.chaos.plan import KINDS, ROUND_MAX, rounds, short_rounds


def test_a_seed_gives_one_plan_and_a_longer_session_begins_like_a_shorter_one() -> None:
    short, long = list(islice(rounds(7), 5)), list(islice(rounds(7), 50))
    assert long[:5] == short
    assert list(islice(rounds(8), 5)) != short


def test_every_kind_is_dealt_within_one_pack() -> None:
    cards = sum(kind.cards for kind in KINDS)
    dealt = [fault for faults in islice(rounds(3), cards) for fault in faults][: cards + ROUND_MAX]
    assert {fault.kind for fault in dealt} == {kind.name for kind in KINDS}


def test_a_kind_that_is_left_away_is_never_dealt() -> None:
    dealt = {f.kind for faults in islice(rounds(3, frozenset({"disk_full"})), 99) for f in faults}
    assert "disk_full" not in dealt


def test_every_fault_has_a_blow_and_stays_within_its_kind() -> None:
    limits = {kind.name: kind for kind in KINDS}
    for fault in (f for faults in islice(rounds(11), 200) for f in faults):
        kind = limits[fault.kind]
        assert blow_of(fault) is not None
        assert fault.target in kind.targets
        assert kind.lasts_s[0] <= fault.lasts_s <= kind.lasts_s[1]


def test_the_short_run_has_twelve_faults_of_the_kinds_that_must_not_be_missing() -> None:
    kinds = [fault.kind for faults in short_rounds(5) for fault in faults]
    assert len(kinds) >= 12
    assert {"kill", "pause", "pg_immediate", "redis_flush", "link_cut", "link_half"} <= set(kinds)
