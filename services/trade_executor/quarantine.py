"""What the broker said and nobody can read: counted, logged once, put aside for people to see.

Nothing is decided by it. The first bytes of each answer, row or frame are kept, the newest
`ROWS_MAX` of them, and not more than `PER_MINUTE` in a minute: a broker that talks rubbish all
day fills neither memory nor disk. Writing waits for nobody and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.trade_executor.metrics import QUARANTINE_SHED
from services.trade_executor.ports import Page

_log = get_logger(__name__)

BODY_MAX: Final = 64 * 1024
ROWS_MAX: Final = 2000
PER_MINUTE: Final = 120
_PAUSE_S: Final = 0.25
_REASONS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One thing that could not be read: `source` is `answer` or `stream`, `call` what was asked,
    `size` how many bytes it had, of which `body` holds the first."""

    ts: dt.datetime
    source: str
    call: str
    reason: str
    status: int | None
    body: bytes
    size: int


class QuarantineStore(Protocol):
    """Where it is kept."""

    async def keep(self, rows: Sequence[Unreadable]) -> None:
        """Write rows and forget the oldest. Raises UnavailableError."""
        ...

    async def page(self, *, limit: int, after: str | None) -> Page:
        """Return what is kept, newest first."""
        ...


class Quarantine:
    """Takes unreadable things from the serving thread, writes them from one task."""

    def __init__(self, store: QuarantineStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[Unreadable] = deque()
        self._logged: set[tuple[str, str, str]] = set()
        self._minute = -1
        self._taken = 0

    def answer(self, call: str, reason: str, status: int | None, body: bytes) -> None:
        """Put an answer aside, or a row of one."""
        self._take("answer", call, reason, status, body)

    def frame(self, reason: str, body: bytes) -> None:
        """Put a frame of the stream aside."""
        self._take("stream", "trade_updates", reason, None, body)

    async def page(self, *, limit: int, after: str | None) -> Page:
        """Return what is kept, newest first."""
        return await self._store.page(limit=limit, after=after)

    @property
    def waiting(self) -> int:
        """Rows not yet written."""
        return len(self._waiting)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            try:
                await self.flush()
            except UnavailableError as error:
                _log.warning("quarantine_waits", rows=len(self._waiting), error=str(error))

    async def flush(self) -> None:
        """Write what waits. Raises UnavailableError; what was not written waits on."""
        batch = list(self._waiting)
        if batch:
            await self._store.keep(batch)
            for _ in batch:
                self._waiting.popleft()

    def _take(self, source: str, call: str, reason: str, status: int | None, body: bytes) -> None:
        key = (source, call, reason)
        if key not in self._logged and len(self._logged) < _REASONS_MAX:
            self._logged.add(key)
            _log.error("broker_unreadable", source=source, call=call, reason=reason, status=status)
        if self._is_full():
            QUARANTINE_SHED.inc()
            return
        self._waiting.append(
            Unreadable(self._clock.now(), source, call, reason, status, body[:BODY_MAX], len(body))
        )

    def _is_full(self) -> bool:
        """Tell whether this minute has had enough, or the database has been away for long."""
        minute = self._clock.monotonic_ns() // 60_000_000_000
        if minute != self._minute:
            self._minute, self._taken = minute, 0
        self._taken += 1
        return self._taken > PER_MINUTE or len(self._waiting) >= PER_MINUTE


def shown(row: Any) -> dict[str, Any]:
    """Return a row for people: its bytes as text, what is none escaped."""
    body = bytes(row["body"])
    return {
        **{name: row[name] for name in ("seq", "ts", "source", "call", "reason", "status")},
        "size": row["size"],
        "body": body.decode("utf-8", "backslashreplace").replace("\x00", "\\0"),
    }
