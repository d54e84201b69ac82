"""The real clocks: the machine's, and the market's as the broker tells it."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid

import httpx
import msgspec
import uuid_utils.compat

from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import NS_PER_SECOND, from_ns, parse_ns
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger

_log = get_logger(__name__)


class SystemClock:
    """The machine's clock."""

    def now(self) -> dt.datetime:
        """Return the time, aware, in UTC."""
        return dt.datetime.now(dt.UTC)

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never step back."""
        return time.monotonic_ns()


class Uuid7Ids:
    """Fresh UUIDv7 (RFC 9562), ordered by time."""

    def new(self) -> uuid.UUID:
        """Return a new id."""
        return uuid_utils.compat.uuid7()


class _ClockAnswer(msgspec.Struct):
    now: str
    factor: float
    state: SessionState


class MarketClock:
    """Market time: the wall clock, or a simulated broker's clock when `url` is given.

    Between polls the simulated time is extrapolated at the broker's factor; it never runs
    backward by itself. `state` is the broker's own word on the session, None on wall time.
    """

    def __init__(self, url: str = "", poll_s: float = 1.0, timeout_s: float = 2.0) -> None:
        self._url = url.rstrip("/")
        self._poll_s = poll_s
        self._timeout_s = timeout_s
        self._base_ns = 0
        self._base_monotonic = 0
        self._factor = 1.0
        self._last_ns = 0
        self.state: SessionState | None = None
        self.synchronised = not self._url

    @property
    def is_wall(self) -> bool:
        """Tell whether market time is wall time."""
        return not self._url

    @property
    def factor(self) -> float:
        """Return market seconds per wall second."""
        return self._factor

    def now_ns(self) -> int:
        """Return market time in ns. Raises UnavailableError before the first synchronisation."""
        if not self._url:
            return time.time_ns()
        if not self.synchronised:
            raise UnavailableError(f"market clock at {self._url} has not answered yet")
        elapsed = time.monotonic_ns() - self._base_monotonic
        # At most three polls ahead: a clock that stopped answering must not run away.
        elapsed = min(elapsed, round(3 * self._poll_s * NS_PER_SECOND))
        self._last_ns = max(self._last_ns, self._base_ns + round(elapsed * self._factor))
        return self._last_ns

    def now(self) -> dt.datetime:
        """Return market time, aware, in UTC."""
        return from_ns(self.now_ns())

    def monotonic_ns(self) -> int:
        """Return wall nanoseconds that never step back."""
        return time.monotonic_ns()

    async def synchronise(self, client: httpx.AsyncClient) -> None:
        """Ask the broker once. Raises UnavailableError."""
        before = time.monotonic_ns()
        try:
            response = await client.get(f"{self._url}/sim/clock", timeout=self._timeout_s)
            response.raise_for_status()
            answer = msgspec.json.decode(response.content, type=_ClockAnswer)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise UnavailableError(f"market clock at {self._url}: {error}") from error
        after = time.monotonic_ns()
        now_ns = parse_ns(answer.now, "clock")
        if now_ns + 60 * NS_PER_SECOND < self._last_ns:
            # The broker was reset to an earlier day: follow it, a frozen clock would be worse.
            _log.warning("market_clock_stepped_back", to=answer.now)
            self._last_ns = now_ns
        self._base_ns = now_ns
        self._base_monotonic = (before + after) // 2
        self._factor = answer.factor
        self.state = answer.state
        self.synchronised = True

    async def run(self) -> None:
        """Keep synchronised until cancelled; returns at once on wall time."""
        if self.is_wall:
            return
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    await self.synchronise(client)
                except UnavailableError as error:
                    _log.warning("market_clock_unavailable", error=str(error))
                await asyncio.sleep(self._poll_s)
