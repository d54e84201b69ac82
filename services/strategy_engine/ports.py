"""What the engine needs of the tables."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from libs.common.contracts.messages import AuditEvent, Notification, Signal
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.leases import Lease, Plan
from services.strategy_engine.performance import Execution, Performance, Split


@dataclass(frozen=True, slots=True)
class SavedState:
    """A stream's memory as stored; `as_of` is the start of the last bar in it, ns."""

    strategy_id: str
    symbol: str
    as_of: int
    state: bytes
    layout_hash: str
    version_hash: str
    bars: int
    last_decision: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Caused:
    """A signal with the story it belongs to; `received_ns` 0 where it did not come live."""

    signal: Signal
    correlation_id: uuid.UUID
    causation_id: uuid.UUID | None
    received_ns: int


@dataclass(frozen=True, slots=True)
class Told:
    """Something for people or for the record, with the story it belongs to."""

    payload: Notification | AuditEvent
    correlation_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class SignalRow:
    """A stored signal, as listed."""

    signal: Signal
    correlation_id: uuid.UUID
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a list was left: the last row's creation and id."""

    created_at: dt.datetime
    id: uuid.UUID


class History(Protocol):
    """Stored bars."""

    async def since(
        self, timeframe: str, since: Mapping[str, int], rows_max: int
    ) -> dict[str, np.ndarray]:
        """Return each symbol's bars (BAR) that start after its `since` (ns), oldest first."""
        ...

    async def before(self, timeframe: str, symbol: str, end: int, count: int) -> np.ndarray:
        """Return the last `count` bars (BAR) that start before `end` (ns), oldest first."""
        ...


class Leases(Protocol):
    """Which replica runs which strategy."""

    async def begin(self) -> None:
        """Raise the epochs of what this replica held before it was started again."""
        ...

    async def renew(self) -> Plan:
        """Say that this replica lives and take its share of what is free.

        Returns what was taken and what is to be given.
        """
        ...

    async def held(self) -> dict[str, int]:
        """Return the epochs of this replica's strategies."""
        ...

    async def give(self, receivers: Mapping[str, str]) -> None:
        """Hand strategies over to other replicas."""
        ...

    async def leases(self) -> dict[str, Lease]:
        """Return all strategies with their live holders."""
        ...

    async def peers(self) -> dict[str, str]:
        """Return the addresses of the other live replicas, by name."""
        ...


class Performances(Protocol):
    """What the executor booked for strategies, and how they stood when last looked at."""

    async def executions(self, ids: Collection[str], since: dt.datetime) -> list[Execution]:
        """Return the executions of these strategies booked after `since`, in that order."""
        ...

    async def splits(self, ids: Collection[str]) -> list[Split]:
        """Return what splits gave to, or took from, these strategies."""
        ...

    async def revision(self) -> object:
        """Return something that differs once the past was revised: reversals, splits."""
        ...

    async def save(self, performance: Performance, epochs: Mapping[str, int]) -> None:
        """Store how a strategy stands. Raises LeaseLostError where another replica runs it."""
        ...

    async def list(self, strategy_id: str | None = None) -> Sequence[tuple[Performance, int]]:
        """Return how strategies stand, with the number of their signals."""
        ...


class Book(Protocol):
    """The engine's own tables."""

    async def seed(self, configurations: Sequence[Configuration]) -> bool:
        """Store these unless there are any; tell whether they were stored."""
        ...

    async def configurations(self) -> list[Configuration]:
        """Return all strategies, by id."""
        ...

    async def states(self) -> dict[tuple[str, str], SavedState]:
        """Return all saved states by strategy id and symbol."""
        ...

    async def save(
        self,
        states: Sequence[SavedState],
        signals: Sequence[Caused],
        told: Sequence[Told],
        epochs: Mapping[str, int],
    ) -> int:
        """Store states, signals and their messages in one transaction.

        Signals that exist already are left out, with their messages; returns how many were new.
        Raises LeaseLostError, and stores nothing, unless all `epochs` are still this replica's.
        """
        ...

    async def set_version(self, strategy_id: str, version_hash: str) -> None:
        """Note which source a strategy now runs."""
        ...

    async def configure(
        self,
        configuration: Configuration,
        *,
        new: bool,
        going_on: Sequence[str],
        states: Sequence[SavedState],
        told: Sequence[Told],
        epoch: int | None,
    ) -> None:
        """Store a strategy's configuration together with its states.

        States of symbols other than those `going_on` are forgotten first. A `new` strategy is this
        replica's from here on. Raises ConflictError where its id is taken, LeaseLostError unless
        `epoch` is that of the strategy's lease.
        """
        ...


class Instruments(Protocol):
    """What can be traded at all."""

    async def symbols(self) -> frozenset[str]:
        """Return the symbols of all known instruments."""
        ...


class Signals(Protocol):
    """Stored signals, to be read."""

    async def list(
        self, strategy_id: str | None, symbol: str | None, after: Place | None, limit: int
    ) -> Sequence[SignalRow]:
        """Return signals, newest first, from `after` on."""
        ...
