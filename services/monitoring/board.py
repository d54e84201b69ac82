"""The health board: what every service said last, how it is, and since when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from libs.common.contracts.messages import Heartbeat
from services.monitoring.logic import (
    HealthState,
    Judgement,
    Patience,
    Pulse,
    forgettable,
    judge,
    overall,
)


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """One line of the board; `since` is when the service came into its state."""

    judgement: Judgement
    since: dt.datetime
    expected: bool
    instances: tuple[Heartbeat, ...]


class Board:
    """Collects heartbeats and judges them when asked."""

    def __init__(self, expected: Iterable[str], patience: Patience, started_ns: int) -> None:
        self._expected = frozenset(expected)
        self._patience = patience
        self._started_ns = started_ns
        self._pulses: dict[str, dict[str, Pulse]] = {name: {} for name in self._expected}
        self._lines: dict[str, ServiceHealth] = {}

    def hear(self, heartbeat: Heartbeat, seen_ns: int) -> bool:
        """Take a sign of life; tell whether the instance has been started anew since its last."""
        instances = self._pulses.setdefault(heartbeat.service, {})
        before = instances.get(heartbeat.instance)
        instances[heartbeat.instance] = Pulse(heartbeat, seen_ns)
        return before is not None and heartbeat.started_at > before.heartbeat.started_at

    def check(self, now: dt.datetime, now_ns: int) -> None:
        """Judge every service anew."""
        for service, instances in self._pulses.items():
            for gone in forgettable(list(instances.values()), now_ns, self._patience):
                del instances[gone]
            pulses = sorted(instances.values(), key=lambda pulse: pulse.heartbeat.instance)
            found = judge(service, pulses, now_ns, self._started_ns, self._patience)
            known = self._lines.get(service)
            same = known is not None and known.judgement.state is found.state
            self._lines[service] = ServiceHealth(
                judgement=found,
                since=known.since if same and known is not None else now,
                expected=service in self._expected,
                instances=tuple(pulse.heartbeat for pulse in pulses),
            )

    @property
    def lines(self) -> Sequence[ServiceHealth]:
        """The board, by service name."""
        return [self._lines[service] for service in sorted(self._lines)]

    @property
    def state(self) -> HealthState:
        """The worst state of all."""
        return overall(line.judgement for line in self._lines.values())

    @property
    def deaf(self) -> bool:
        """Whether nothing is heard of anyone: then it is the bus, or us."""
        states = {line.judgement.state for line in self._lines.values()}
        return HealthState.DOWN in states and states <= {HealthState.STALE, HealthState.DOWN}
