"""The wire to Alpaca, with everything that waits or repeats under our rule: what acts goes by a
line of our own, what asks goes through the library's client in a bounded pool of threads.

An order waits for what acts. The library and the two below it would spend a millisecond and a half
of work on it, in another thread; the line writes to the socket where the order was decided.

How the library asks: `RESTClient._request` loops over `_one_request`, sleeping three times three
seconds on 429 and 504 for every verb, POST too, without any time-out. So its retry list is
emptied, and an HTTP adapter puts a time-out and a size on every request whoever makes it; a timer
of ours ends what takes longer in all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from purgatory.domain.model import OpenedState
from urllib3.exceptions import MaxRetryError, NewConnectionError

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.resilience import circuit_factory, token_bucket
from services.trade_executor.adapters.alpaca_http import (
    ANSWER_BYTES_MAX,
    Exchange,
    TimeoutAdapter,
)
from services.trade_executor.adapters.alpaca_record import Recorder
from services.trade_executor.adapters.alpaca_verdict import (
    TurnedAwayError,
    UnreadableAnswerError,
    unreadable,
    verdict,
)
from services.trade_executor.adapters.alpaca_words import NAME
from services.trade_executor.adapters.http_line import (
    BrokenAnswerError,
    BrokenError,
    ConnectError,
    HttpLine,
    LineLimits,
    Reply,
)
from services.trade_executor.metrics import ANSWERS_UNREADABLE, BROKER_CALLS, BROKER_DURATION
from services.trade_executor.ports import BrokerRefusedError, NotSentError, OutcomeUnknownError

T = TypeVar("T")

_SERVICE_THREADS: Final = 4
_EXITS_SHARE: Final = 4  # one sending connection in so many is kept for exits
_FAILED: Final = 400
_MAKE_WAY_S: Final = 0.01
_ORDINARY_SHARE: Final = 0.8  # of the budget; the rest is kept for cancels and exits


# What is told of an answer that cannot be read: the call, the reason, its status and its body.
Unreadable = Callable[[str, str, int | None, bytes], None]


@dataclass(frozen=True, slots=True)
class AlpacaLimits:
    """What the adapter may use: threads, seconds, calls a minute (Alpaca's own limit is 200).

    `timeout_s` is for each read, `answer_s_max` for a request as a whole.
    """

    threads: int
    timeout_s: float
    calls_per_minute: float
    failures_max: int
    circuit_reset_s: float
    answer_s_max: float = 10.0


class AlpacaWire:
    """Makes requests: one try each, in budget, within the time-out, behind a circuit breaker."""

    def __init__(
        self,
        url: str,
        key: str,
        secret: str,
        limits: AlpacaLimits,
        adapter_of: Callable[[float, int], TimeoutAdapter] = TimeoutAdapter,
        unreadable: Unreadable = lambda *_: None,
        record: Recorder | None = None,
        bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        self.client = TradingClient(key, secret, raw_data=True, url_override=url.rstrip("/"))
        self.client._retry = 0
        self.client._retry_codes = []
        adapter = adapter_of(limits.timeout_s, _SERVICE_THREADS)
        for scheme in ("http://", "https://"):
            self.client._session.mount(scheme, adapter)
        # No proxy of the environment, no .netrc: the broker is where the settings say.
        self.client._session.trust_env = False
        self._line = HttpLine(
            f"{url.rstrip('/')}/{self.client._api_version}",
            self.client._get_default_headers(),
            LineLimits(limits.timeout_s, limits.answer_s_max, bytes_max),
        )
        self._record = record
        self._askers = ThreadPoolExecutor(_SERVICE_THREADS, thread_name_prefix="broker-ask")
        self._slots = asyncio.Semaphore(limits.threads)
        ordinary = limits.threads - limits.threads // _EXITS_SHARE
        self._ordinary_slots = asyncio.Semaphore(ordinary)
        per_s = limits.calls_per_minute / 60
        self._budget = token_bucket(max(1.0, per_s), 1.0)
        self._ordinary = token_bucket(max(1.0, per_s * _ORDINARY_SHARE), 1.0)
        self._circuits = circuit_factory(limits.failures_max, limits.circuit_reset_s)
        self._paused_until = 0.0
        self._answer_s_max = limits.answer_s_max
        self._unreadable = unreadable
        self._urgent = 0  # cancels and exits that wait for budget

    @asynccontextmanager
    async def slot(self, *, first: bool = False) -> AsyncIterator[None]:
        """Wait for budget and a free connection; `first` goes before what is not."""
        async with AsyncExitStack() as stack:
            if not first:
                await stack.enter_async_context(self._ordinary_slots)
            await stack.enter_async_context(self._slots)
            await self._pay(first=first)
            yield

    async def act(
        self,
        call: str,
        method: str,
        path: str,
        data: dict[str, Any] | None,
        reader: Callable[[Any], T],
        *,
        in_slot: bool = True,
    ) -> T:
        """Send a request that changes something, once; return its answer, read. Without a slot
        that was waited for it goes before all that needs one."""
        if not in_slot:
            await self._pay(first=True)
        reply = Reply()
        return await self._run(call, partial(self._acted, method, path, data, reply), reader, reply)

    async def ask(self, call: str, work: Callable[[], Any], reader: Callable[[Any], T]) -> T:
        """Run a request of the library's that changes nothing; return its answer, read."""
        await self._pay(first=False)
        reply = Reply()
        return await self._run(call, partial(self._asked, work, reply), reader, reply)

    def quarantine(self, call: str, reason: str, body: bytes, status: int | None = None) -> None:
        """Count an answer, or a part of one, that cannot be read, and put it aside."""
        ANSWERS_UNREADABLE.labels(call).inc()
        self._unreadable(call, reason, status, body)

    def close(self) -> None:
        """Close connections and threads; requests under way end by their time-out."""
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._line.close()
        self.client._session.close()

    async def _pay(self, *, first: bool) -> None:
        """Spend one call of the budget, once the broker takes calls again; what is not `first`
        leaves a share of it to what is, and goes after all of that which waits."""
        loop = asyncio.get_running_loop()
        self._urgent += first
        try:
            while True:
                left_s = self._paused_until - loop.time()
                if left_s <= 0 and (first or not self._urgent):
                    break
                await asyncio.sleep(max(left_s, _MAKE_WAY_S))
            if not first:
                await self._ordinary.acquire()
            await self._budget.acquire()
        finally:
            self._urgent -= first

    async def _run(
        self,
        call: str,
        work: Callable[[], Awaitable[Any]],
        reader: Callable[[Any], T],
        reply: Reply,
    ) -> T:
        loop = asyncio.get_running_loop()
        started, outcome = loop.time(), "ok"
        try:
            breaker = await self._circuits.get_breaker(NAME, exclude=[BrokerRefusedError])
            async with breaker:
                body = await work()
            return _read(reader, body)
        except OpenedState as error:
            outcome = "circuit_open"
            raise NotSentError(
                "the broker failed too often, waiting before the next try"
            ) from error
        except NotSentError as error:
            outcome = "not_sent"
            if isinstance(error, TurnedAwayError):
                self._paused_until = loop.time() + error.pause_s
            raise
        except UnreadableAnswerError as error:
            outcome = "unreadable"
            self.quarantine(call, str(error), reply.body, reply.status or None)
            raise
        except OutcomeUnknownError:
            outcome = "unknown"
            raise
        except BrokerRefusedError as error:
            outcome = str(error.status)
            raise
        finally:
            BROKER_CALLS.labels(call, outcome).inc()
            BROKER_DURATION.labels(call).observe(loop.time() - started)

    async def _acted(
        self, method: str, path: str, data: dict[str, Any] | None, reply: Reply
    ) -> Any:
        """Send by the line; say of every failure whether it was refused, never sent, or unknown."""
        body = None if data is None else json.dumps(data, allow_nan=False).encode()
        request = self._line.request(method, path, body, reply)
        if self._record is not None:
            request = self._record.taken_down(request, method, self._line.path + path, body, reply)
        try:
            await request
        except ConnectError as error:
            raise NotSentError(f"no connection: {error}") from error
        except BrokenError as error:
            raise OutcomeUnknownError(str(error)) from error
        except BrokenAnswerError as error:
            raise UnreadableAnswerError(f"no readable answer: {error}") from error
        text = reply.body.decode("utf-8", "replace")
        if reply.status >= _FAILED:
            raise verdict(reply.status, text, reply.retry_after)
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise unreadable(error) from error

    async def _asked(self, work: Callable[[], Any], reply: Reply) -> Any:
        """Ask through the library, in a thread."""
        loop = asyncio.get_running_loop()
        exchange = Exchange()
        deadline = loop.call_later(self._answer_s_max, exchange.sever)
        try:
            return await loop.run_in_executor(self._askers, _translated, work, exchange)
        finally:
            deadline.cancel()
            reply.status, reply.body = exchange.status or 0, exchange.body or b""


def _translated(work: Callable[[], T], exchange: Exchange) -> T:
    """Run one request; say of every failure whether it was refused, never sent, or unknown."""
    if exchange.severed:
        raise NotSentError("no thread became free in time")
    try:
        with exchange:
            return work()
    except APIError as error:
        headers = error.response.headers if error.response is not None else {}
        status = int(error.status_code or 0)
        raise verdict(status, str(error), headers.get("Retry-After", "")) from error
    except requests.ConnectTimeout as error:
        raise NotSentError(f"no connection: {error}") from error
    except requests.ConnectionError as error:
        cause = error.args[0] if error.args else None
        if isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError):
            raise NotSentError(f"no connection: {cause.reason}") from error
        if exchange.severed:
            raise UnreadableAnswerError("the answer did not end in time") from error
        raise OutcomeUnknownError(f"connection broke: {error}") from error
    except (requests.RequestException, ValueError, RecursionError) as error:
        if exchange.severed:
            raise UnreadableAnswerError("the answer did not end in time") from error
        if exchange.body is None:
            raise OutcomeUnknownError(f"no answer: {error!r}") from error
        raise unreadable(error) from error


def _read(reader: Callable[[Any], T], body: Any) -> T:
    """Read an answer; what cannot be read is an unknown outcome, not a crash."""
    try:
        return reader(body)
    except InvalidInputError as error:
        raise UnreadableAnswerError(f"the answer cannot be read: {error}") from error
