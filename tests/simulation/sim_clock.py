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
    """The loop's virtual time as wall time and as market time, which are one here."""

    factor = 1.0
    state = SessionState.REGULAR
    is_wall = False
    synchronised = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return _START_NS + self.monotonic_ns()

    def now(self) -> dt.datetime:
        """Return the time, aware, in UTC."""
        return from_ns(self.now_ns())

    def monotonic_ns(self) -> int:
        """Return nanoseconds since the session began."""
        return round(self._loop.time() * 1e9)
