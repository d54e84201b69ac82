"""The health of the house, judged by how fresh each service's sign of life is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.common.contracts.messages import Heartbeat
from libs.common.domain.vocabulary import Level


class HealthState(StrEnum):
    """How a service is. `degraded` says itself that it is not ready; `stale` missed a few
    heartbeats; `down` has been silent for long, or was never heard of."""

    OK = "ok"
    DEGRADED = "degraded"
    STALE = "stale"
    DOWN = "down"


_WORST: Final = (HealthState.OK, HealthState.DEGRADED, HealthState.STALE, HealthState.DOWN)

LEVELS: Final = {
    HealthState.OK: Level.INFO,
    HealthState.DEGRADED: Level.WARNING,
    HealthState.STALE: Level.WARNING,
    HealthState.DOWN: Level.ERROR,
}
"""How loud a change into a state is."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """The last heartbeat of one instance, and when it reached us (monotonic ns)."""

    heartbeat: Heartbeat
    seen_ns: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is borne: beyond `stale` a service is stale, beyond `down` it is down.
    One that was never heard of is down once we have listened for `first`."""

    stale: dt.timedelta
    down: dt.timedelta
    first: dt.timedelta


@dataclass(frozen=True, slots=True)
class Judgement:
    """The state of one service and why; `age_s` since its last sign of life, None if never."""

    service: str
    state: HealthState
    reasons: tuple[str, ...]
    age_s: float | None


def judge(
    service: str, pulses: Sequence[Pulse], now_ns: int, started_ns: int, patience: Patience
) -> Judgement:
    """Return the state of `service` from the pulses of its instances.

    A service never heard of is stale until we have listened for longer than `patience.first`.
    One instance alive is a service alive: silent ones degrade it, until they are forgotten.
    """
    if not pulses:
        listened = _seconds(now_ns - started_ns)
        state = HealthState.DOWN if listened > _total(patience.first) else HealthState.STALE
        return Judgement(service, state, ("no heartbeat received",), None)
    ages = {pulse.heartbeat.instance: _seconds(now_ns - pulse.seen_ns) for pulse in pulses}
    youngest = min(ages.values())
    if youngest > _total(patience.stale):
        state = HealthState.DOWN if youngest > _total(patience.down) else HealthState.STALE
        return Judgement(service, state, (f"silent for {youngest:.0f} s",), youngest)
    reasons = [
        _named(pulse.heartbeat, reason, pulses)
        for pulse in pulses
        if ages[pulse.heartbeat.instance] <= _total(patience.stale)
        for reason in _complaints(pulse.heartbeat)
    ]
    reasons += [
        f"instance {instance} silent for {age:.0f} s"
        for instance, age in sorted(ages.items())
        if age > _total(patience.stale)
    ]
    state = HealthState.DEGRADED if reasons else HealthState.OK
    return Judgement(service, state, tuple(reasons), youngest)


def overall(judgements: Iterable[Judgement]) -> HealthState:
    """Return the worst state among the services; `ok` for none."""
    return max(
        (judgement.state for judgement in judgements), key=_WORST.index, default=HealthState.OK
    )


def forgettable(pulses: Sequence[Pulse], now_ns: int, patience: Patience) -> tuple[str, ...]:
    """Return the instances that are gone for good: down, while another of the service lives."""
    ages = {pulse.heartbeat.instance: _seconds(now_ns - pulse.seen_ns) for pulse in pulses}
    if not ages or min(ages.values()) > _total(patience.stale):
        return ()
    return tuple(name for name, age in ages.items() if age > _total(patience.down))


def _complaints(heartbeat: Heartbeat) -> tuple[str, ...]:
    if heartbeat.ready:
        return ()
    return heartbeat.reasons or ("not ready, gives no reason",)


def _named(heartbeat: Heartbeat, reason: str, pulses: Sequence[Pulse]) -> str:
    return reason if len(pulses) == 1 else f"instance {heartbeat.instance}: {reason}"


def _seconds(ns: int) -> float:
    return ns / 1e9


def _total(span: dt.timedelta) -> float:
    return span.total_seconds()
