"""Health is judged by freshness and by what the service itself complains of."""

from __future__ import annotations

import datetime as dt

import pytest

from libs.common.contracts.messages import Heartbeat
from services.monitoring.logic import HealthState, Patience, Pulse, forgettable, judge, overall

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
PATIENCE = Patience(
    stale=dt.timedelta(seconds=15), down=dt.timedelta(seconds=30), first=dt.timedelta(seconds=90)
)
S = 1_000_000_000


def pulse(age_s: float, *reasons: str, instance: str = "0", ready: bool | None = None) -> Pulse:
    heartbeat = Heartbeat(
        service="audit",
        instance=instance,
        ready=not reasons if ready is None else ready,
        reasons=reasons,
        ts=NOW,
        started_at=NOW,
    )
    return Pulse(heartbeat, round(-age_s * S))


@pytest.mark.parametrize(
    ("age_s", "state"),
    [
        (0, HealthState.OK),
        (15, HealthState.OK),
        (15.1, HealthState.STALE),
        (30, HealthState.STALE),
        (30.1, HealthState.DOWN),
    ],
)
def test_silence_turns_stale_then_down(age_s: float, state: HealthState) -> None:
    assert judge("audit", [pulse(age_s)], 0, -99 * S, PATIENCE).state is state


def test_unready_service_is_degraded_with_its_reasons() -> None:
    found = judge("audit", [pulse(1, "database: away")], 0, 0, PATIENCE)
    assert (found.state, found.reasons) == (HealthState.DEGRADED, ("database: away",))
    mute = judge("audit", [pulse(1, ready=False)], 0, 0, PATIENCE)
    assert (mute.state, mute.reasons) == (HealthState.DEGRADED, ("not ready, gives no reason",))


def test_never_heard_of_is_down_only_after_listening_long_enough() -> None:
    assert judge("audit", [], 90 * S, 0, PATIENCE).state is HealthState.STALE
    found = judge("audit", [], 91 * S, 0, PATIENCE)
    assert (found.state, found.age_s) == (HealthState.DOWN, None)


def test_one_silent_instance_degrades_until_it_is_forgotten() -> None:
    pulses = [pulse(1, instance="a"), pulse(20, instance="b")]
    found = judge("audit", pulses, 0, 0, PATIENCE)
    assert (found.state, found.reasons) == (HealthState.DEGRADED, ("instance b silent for 20 s",))
    assert forgettable(pulses, 0, PATIENCE) == ()
    assert forgettable([pulse(1, instance="a"), pulse(31, instance="b")], 0, PATIENCE) == ("b",)
    assert forgettable([pulse(31, instance="b")], 0, PATIENCE) == ()


def test_reasons_name_their_instance_when_there_are_several() -> None:
    found = judge(
        "audit", [pulse(1, "redis", instance="a"), pulse(1, instance="b")], 0, 0, PATIENCE
    )
    assert found.reasons == ("instance a: redis",)


def test_the_house_is_as_well_as_its_worst_service() -> None:
    states = [judge("a", [pulse(1)], 0, 0, PATIENCE), judge("b", [pulse(99)], 0, 0, PATIENCE)]
    assert overall(states) is HealthState.DOWN
    assert overall([]) is HealthState.OK
