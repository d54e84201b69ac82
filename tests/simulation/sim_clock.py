"""The clocks and ids of a session."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Final

from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import from_ns, to_ns

# A Tuesday, half an hour after the open in New York.
_START_NS: Final = to_ns(dt.datetime(2022, 3, 1, 15, 0, tzinfo=dt.UTC))


class SimClock:
    """The loop's virtual time as wall time and as market time, which are one here.

    Most that happens, happens at the instant of something else: the time is worked out once.
    """

    factor = 1.0
    state = SessionState.REGULAR
    is_wall = False
    synchronised = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read_at = -1.0
        self._read()

    def _read(self) -> None:
        self._read_at = self._loop.time()
        self._elapsed_ns = round(self._read_at * 1e9)
        self._now = from_ns(_START_NS + self._elapsed_ns)

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return _START_NS + self.monotonic_ns()

    def now(self) -> dt.datetime:
        """Return the time, aware, in UTC."""
        if self._read_at != self._loop.time():
            self._read()
        return self._now

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the session began."""
        if self._read_at != self._loop.time():
            self._read()
        return self._elapsed_ns
