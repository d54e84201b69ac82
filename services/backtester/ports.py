"""What the backtester's handlers need of the outside world."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from libs.common.backtest.parity.session import Session
from libs.common.backtest.spec import BacktestSpec
from libs.common.contracts.messages import Notification
from libs.common.kernel.errors import TradewindError


class Status(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The service ended while it ran; `resume` queues it again."""


FINISHED = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED, Status.INTERRUPTED})


class QueueFullError(TradewindError):
    """As many runs wait as may wait."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the stage, how much of it is done, of how much."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Artefact:
    """A file that a run left."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored. `result` is the JSON of the room's result, without its series."""

    id: UUID
    kind: str
    status: Status
    request: Mapping[str, Any]
    progress: Progress | None
    result: Mapping[str, Any] | None
    error: str | None
    artefacts: Sequence[Artefact]
    attempts: int
    submitted_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: with a result, or with what was wrong."""

    result: Mapping[str, Any] | None
    error: str | None
    artefacts: Sequence[Artefact] = ()


class Runs(Protocol):
    """The table of runs."""

    async def submit(
        self, run_id: UUID, kind: str, request: Mapping[str, Any], key: str | None, queue_max: int
    ) -> Run:
        """Queue a run; with a `key` that was used before, return that run.

        Raises QueueFullError, and ConflictError for a key used with another request.
        """
        ...

    async def claim(self, instance: str) -> Run | None:
        """Make the oldest queued run a running one of this instance; None if none waits."""
        ...

    async def note(self, run_id: UUID, progress: Progress) -> None:
        """Store how far a run is."""
        ...

    async def finish(
        self, run_id: UUID, status: Status, ended: Ended, notice: Notification | None = None
    ) -> Run:
        """Store how a running run ended, and the notice of it; what is finished already stays as it
        is, and nobody is told."""
        ...

    async def cancel(self, run_id: UUID) -> Run:
        """Make a queued or running run a cancelled one. Raises NotFoundError, ConflictError."""
        ...

    async def requeue(self, run_id: UUID, queue_max: int) -> Run:
        """Queue an interrupted, failed or cancelled run again. Raises NotFoundError,
        ConflictError, QueueFullError."""
        ...

    async def remove(self, run_id: UUID) -> None:
        """Forget a finished run. Raises NotFoundError, ConflictError."""
        ...

    async def get(self, run_id: UUID) -> Run:
        """Return a run. Raises NotFoundError."""
        ...

    async def page(
        self, status: Status | None, kind: str | None, after: UUID | None, limit: int
    ) -> Sequence[Run]:
        """Return runs, newest first; `after` is the last one of the page before."""
        ...

    async def interrupt(self, instance: str) -> int:
        """Make what this instance left running `interrupted`; return how many."""
        ...

    async def waiting(self) -> int:
        """Return how many runs are queued."""
        ...


class Bars(Protocol):
    """The bars of the database."""

    async def export(self, spec: BacktestSpec, before: int, path: Path, bars_max: int) -> int:
        """Write the spec's bars, and `before` ahead of its start, as CSV; return how many.

        Raises InvalidInputError if there are more than `bars_max`.
        """
        ...


class Sessions(Protocol):
    """What the platform recorded of its trading."""

    async def read(self, start_ns: int, end_ns: int) -> Session:
        """Return what was recorded of [start, end). Raises UnavailableError, InvalidInputError."""
        ...

    async def last_day(self) -> str | None:
        """Return the last day of market time (New York) that has signals and is over, None if
        there is none."""
        ...


class Launcher(Protocol):
    """Runs a request in a process of its own."""

    async def run(self, run: Run, folder: Path, tell: Callable[[Progress], None]) -> Ended:
        """Run it to its end, within its limits. Cancelling the call ends the process."""
        ...
