"""Alpaca's live stream, supervised: it comes back from everything and never dies silently.

A client of our own for Alpaca's protocol instead of the library's, because the library calls a
coroutine a message (about 15 000 quotes a second); frames are the library's to the byte.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from libs.common.kernel.clock import NS_PER_SECOND, Clock
from libs.common.runtime.logging import get_logger
from services.data_collector.adapters.alpaca_wire import (
    Control,
    Refused,
    Subscription,
    Success,
    auth_message,
    read_frame,
    subscribe_message,
)
from services.data_collector.ports import ProviderHealth, TickSink

_log = get_logger(__name__)
_YIELD_EVERY_TICKS = 256
_FRAME_BYTES_MAX = 16 * 1024 * 1024


class StreamBrokenError(Exception):
    """The session with the provider is over; the reason is the message."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Time-outs and delays of the supervised stream, wall time."""

    handshake_s_max: float = 10.0
    mute_s_max: float = 15.0
    delay_s: float = 0.25
    delay_s_max: float = 30.0


class AlpacaStream:
    """Quotes, trades and minute bars of `symbols`.

    A session ends when the socket breaks, the server refuses, or no data comes for
    `mute_s_max` although `expects_data()` says the market is open; then a new one begins after
    a jittered, growing delay, which starts over once data has come.
    """

    name = "alpaca"

    def __init__(
        self,
        url: str,
        key: str,
        secret: str,
        symbols: tuple[str, ...],
        *,
        clock: Clock,
        limits: StreamLimits,
        expects_data: Callable[[], bool],
    ) -> None:
        self._url = url
        self._key = key
        self._secret = secret
        self._symbols = symbols
        self._clock = clock
        self._limits = limits
        self._expects_data = expects_data
        self._connected = False
        self._reason = "not connected yet"
        self._last_data_ns = 0
        self._session_ns = 0
        self._had_data = False
        self._sessions = 0
        self.malformed = 0
        self.unknown = 0

    def health(self) -> ProviderHealth:
        """How the stream is doing now."""
        quiet_ns = self._clock.now_ns() - max(self._last_data_ns, self._session_ns)
        fresh = quiet_ns <= self._limits.mute_s_max * NS_PER_SECOND or not self._expects_data()
        return ProviderHealth(
            name=self.name,
            connected=self._connected,
            healthy=self._connected and fresh,
            last_data_ns=self._last_data_ns,
            reconnects=max(0, self._sessions - 1),
            malformed=self.malformed,
            reason=self._reason if not self._connected else "" if fresh else "no data",
        )

    async def stream(self, sink: TickSink, connected: Callable[[], None]) -> None:
        """Deliver ticks until cancelled; `connected` is called after each subscription."""
        failures = 0
        while True:
            self._had_data = False
            try:
                await self._session(sink, connected)
            except (OSError, WebSocketException, TimeoutError, StreamBrokenError) as error:
                self._reason = str(error) or type(error).__name__
            finally:
                self._connected = False
            failures = 1 if self._had_data else failures + 1
            delay_s = self._delay_s(failures)
            _log.warning("stream_broken", reason=self._reason, again_in_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)

    def _delay_s(self, failures: int) -> float:
        ceiling = min(self._limits.delay_s_max, self._limits.delay_s * 2 ** min(failures - 1, 16))
        return random.uniform(ceiling / 2, ceiling)  # nosec B311 # spreads retries, guards nothing

    async def _session(self, sink: TickSink, connected: Callable[[], None]) -> None:
        self._sessions += 1
        async with connect(
            self._url,
            open_timeout=self._limits.handshake_s_max,
            close_timeout=1.0,
            ping_interval=10.0,
            ping_timeout=20.0,
            max_size=_FRAME_BYTES_MAX,
            max_queue=256,
            compression=None,
            proxy=None if is_loopback(self._url) else True,
            additional_headers={"Content-Type": "application/msgpack"},
        ) as socket:
            async with asyncio.timeout(self._limits.handshake_s_max):
                await self._introduce(socket)
            self._session_ns = self._clock.now_ns()
            self._connected = True
            _log.info("stream_subscribed", url=self._url, symbols=len(self._symbols))
            connected()
            await self._read_watched(socket, sink)

    async def _introduce(self, socket: ClientConnection) -> None:
        await self._expect(socket, Success("connected"))
        await socket.send(auth_message(self._key, self._secret))
        await self._expect(socket, Success("authenticated"))
        await socket.send(subscribe_message(self._symbols))
        await self._expect(socket, None)

    async def _expect(self, socket: ClientConnection, wanted: Success | None) -> None:
        """Read until the wanted word (None: a subscription); ticks before it are not ours yet."""
        while True:
            for control in read_frame(await _frame(socket)).control:
                _raise_if_refused(control)
                if control == wanted or (wanted is None and isinstance(control, Subscription)):
                    return

    async def _read_watched(self, socket: ClientConnection, sink: TickSink) -> None:
        reading = asyncio.create_task(self._read(socket, sink), name="alpaca stream")
        watching = asyncio.create_task(self._watch(), name="alpaca stream watch")
        try:
            done, _ = await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            reading.cancel()
            watching.cancel()
            await asyncio.gather(reading, watching, return_exceptions=True)

    async def _read(self, socket: ClientConnection, sink: TickSink) -> None:
        since_yield = 0
        while True:
            frame = read_frame(await _frame(socket))
            self.malformed += frame.malformed
            self.unknown += frame.unknown
            for control in frame.control:
                _raise_if_refused(control)
            if not frame.ticks:
                continue
            self._last_data_ns = self._clock.now_ns()
            self._had_data = True
            for symbol, tick in frame.ticks:
                sink.offer(symbol, tick)
            since_yield += len(frame.ticks)
            if since_yield >= _YIELD_EVERY_TICKS:
                # recv() does not give way while frames wait; the collector must get its turn.
                since_yield = 0
                await asyncio.sleep(0)

    async def _watch(self) -> None:
        """Return never; raise once the open market has been mute for too long."""
        limit_ns = int(self._limits.mute_s_max * NS_PER_SECOND)
        expected_since = self._clock.now_ns()
        while True:
            await asyncio.sleep(self._limits.mute_s_max / 5)
            now = self._clock.now_ns()
            if not self._expects_data():
                expected_since = now
                continue
            if now - max(self._last_data_ns, expected_since) > limit_ns:
                raise StreamBrokenError(f"no data for {self._limits.mute_s_max:g} s")


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine: then no proxy of the environment is asked."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


async def _frame(socket: ClientConnection) -> bytes:
    data = await socket.recv()
    return data if isinstance(data, bytes) else data.encode()


def _raise_if_refused(control: Control) -> None:
    if isinstance(control, Refused):
        raise StreamBrokenError(f"refused: {control.msg} ({control.code})")
