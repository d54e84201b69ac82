"""A fault plan is a function of its seed."""

import itertools

import pytest

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.fault_request import CATALOGUE, fresh, read_faults
from services.broker_simulator.plan import Plan, schedule

KINDS = ["lost_answer", "mute", "refuse"]


def test_the_same_plan_gives_the_same_faults() -> None:
    plan = Plan(seed=5, kinds=KINDS, count=50)
    assert list(schedule(plan)) == list(schedule(Plan(seed=5, kinds=KINDS, count=50)))
    assert list(schedule(plan)) != list(schedule(Plan(seed=6, kinds=KINDS, count=50)))


def test_a_longer_plan_begins_like_a_shorter_one() -> None:
    short = list(schedule(Plan(seed=5, kinds=KINDS, count=10)))
    assert list(itertools.islice(schedule(Plan(seed=5, kinds=KINDS, until_s=1e4)), 10)) == short


def test_faults_come_at_their_rate_and_last_within_their_bounds() -> None:
    plan = Plan(seed=1, kinds=KINDS, rate_per_minute=30, seconds=1, seconds_max=3, until_s=6000)
    planned = list(schedule(plan))
    assert 2700 < len(planned) < 3300  # 3000 expected, standard deviation 55
    assert all(1 <= one.seconds <= 3 for one in planned)
    assert {one.kind for one in planned} == set(KINDS)
    assert [one.at_s for one in planned] == sorted(one.at_s for one in planned)


def test_every_name_of_the_catalogue_can_be_switched_on() -> None:
    for kind in CATALOGUE:
        wanted = fresh(kind)
        for fault in wanted.faults:
            fault.check()
        assert wanted is not fresh(kind)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"plan": {"kinds": ["mute"], "count": 1}}', "seed"),
        (b'{"plan": {"seed": 1, "kinds": [], "count": 1}}', "kinds is empty"),
        (b'{"plan": {"seed": 1, "kinds": ["gremlin"], "count": 1}}', "gremlin"),
        (b'{"plan": {"seed": 1, "kinds": ["mute"]}}', "one of count and until_s"),
        (b'{"plan": {"seed": 1, "kinds": ["mute"], "count": 0}}', "count"),
        (b'{"plan": {"seed": 1, "kinds": ["mute"], "count": 1, "seconds": 9}}', "seconds_max"),
        (b'{"faults": [{"kind": "wrong_field"}]}', "wrong_field takes field"),
        (b'{"faults": [{"kind": "garbled_answer", "form": "curly"}]}', "curly"),
        (b"[" * 100_000, "faults"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(body: bytes, what: str) -> None:
    with pytest.raises(InvalidInputError, match=what):
        read_faults(body, "faults")
