"""The wire to Alpaca: the library's client in a bounded pool of threads, with everything that
waits or repeats under our rule.

How the library asks: `RESTClient._request` loops over `_one_request`, sleeping three times three
seconds on 429 and 504 for every verb, POST too, without any time-out. So its retry list is
emptied, and an HTTP adapter puts a time-out and a size on every request whoever makes it; a timer
of ours ends what takes longer in all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from purgatory.domain.model import OpenedState
from urllib3.exceptions import MaxRetryError, NewConnectionError

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.resilience import circuit_factory, token_bucket
from services.trade_executor.adapters.alpaca_fields import Fields
from services.trade_executor.adapters.alpaca_http import Exchange, TimeoutAdapter
from services.trade_executor.adapters.alpaca_words import NAME
from services.trade_executor.metrics import ANSWERS_UNREADABLE, BROKER_CALLS, BROKER_DURATION
from services.trade_executor.ports import BrokerRefusedError, NotSentError, OutcomeUnknownError

T = TypeVar("T")

_SERVICE_THREADS: Final = 4
_URGENT_THREADS: Final = 2
_EXITS_SHARE: Final = 4  # one sending thread in so many is kept for exits
_MAKE_WAY_S: Final = 0.01
_ORDINARY_SHARE: Final = 0.8  # of the budget; the rest is kept for cancels and exits
_PAUSE_S_429: Final = 1.0


class UnreadableAnswerError(OutcomeUnknownError):
    """An answer came, and nobody can tell what it says."""


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
    ) -> None:
        self.client = TradingClient(key, secret, raw_data=True, url_override=url.rstrip("/"))
        self.client._retry = 0
        self.client._retry_codes = []
        adapter = adapter_of(limits.timeout_s, limits.threads + _SERVICE_THREADS + _URGENT_THREADS)
        for scheme in ("http://", "https://"):
            self.client._session.mount(scheme, adapter)
        # No proxy of the environment, no .netrc: the broker is where the settings say.
        self.client._session.trust_env = False
        self._senders = ThreadPoolExecutor(limits.threads, thread_name_prefix="broker-send")
        self._askers = ThreadPoolExecutor(_SERVICE_THREADS, thread_name_prefix="broker-ask")
        self._urgents = ThreadPoolExecutor(_URGENT_THREADS, thread_name_prefix="broker-urgent")
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
        """Wait for budget and a free sending thread; `first` goes before what is not."""
        async with AsyncExitStack() as stack:
            if not first:
                await stack.enter_async_context(self._ordinary_slots)
            await stack.enter_async_context(self._slots)
            await self._pay(first=first)
            yield

    async def send(self, call: str, work: Callable[[], Any], reader: Callable[[Any], T]) -> T:
        """Run a request that was waited for in a slot; return its answer, read."""
        return await self._run(self._senders, call, work, reader)

    async def ask(
        self, call: str, work: Callable[[], Any], reader: Callable[[Any], T], *, first: bool = False
    ) -> T:
        """Run any other request; `first` goes before what is not."""
        await self._pay(first=first)
        return await self._run(self._urgents if first else self._askers, call, work, reader)

    def quarantine(self, call: str, reason: str, body: bytes, status: int | None = None) -> None:
        """Count an answer, or a part of one, that cannot be read, and put it aside."""
        ANSWERS_UNREADABLE.labels(call).inc()
        self._unreadable(call, reason, status, body)

    def close(self) -> None:
        """Close connections and threads; requests under way end by their time-out."""
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._askers.shutdown(wait=False, cancel_futures=True)
        self._urgents.shutdown(wait=False, cancel_futures=True)
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
        pool: ThreadPoolExecutor,
        call: str,
        work: Callable[[], Any],
        reader: Callable[[Any], T],
    ) -> T:
        loop = asyncio.get_running_loop()
        started, outcome = loop.time(), "ok"
        exchange = Exchange()
        deadline = loop.call_later(self._answer_s_max, exchange.sever)
        try:
            breaker = await self._circuits.get_breaker(NAME, exclude=[BrokerRefusedError])
            async with breaker:
                body = await loop.run_in_executor(pool, _translated, work, exchange)
            return _read(reader, body)
        except OpenedState as error:
            outcome = "circuit_open"
            raise NotSentError(
                "the broker failed too often, waiting before the next try"
            ) from error
        except NotSentError as error:
            outcome = "not_sent"
            if isinstance(error.__cause__, APIError):
                self._paused_until = loop.time() + _pause_s(error.__cause__)
            raise
        except UnreadableAnswerError as error:
            outcome = "unreadable"
            self.quarantine(call, str(error), exchange.body or b"", exchange.status)
            raise
        except OutcomeUnknownError:
            outcome = "unknown"
            raise
        except BrokerRefusedError as error:
            outcome = str(error.status)
            raise
        finally:
            deadline.cancel()
            BROKER_CALLS.labels(call, outcome).inc()
            BROKER_DURATION.labels(call).observe(loop.time() - started)


def _translated(work: Callable[[], T], exchange: Exchange) -> T:
    """Run one request; say of every failure whether it was refused, never sent, or unknown."""
    if exchange.severed:
        raise NotSentError("no thread became free in time")
    try:
        with exchange:
            return work()
    except APIError as error:
        raise _verdict(error) from error
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
        raise UnreadableAnswerError(f"no readable answer: {_short(error)}") from error


def _read(reader: Callable[[Any], T], body: Any) -> T:
    """Read an answer; what cannot be read is an unknown outcome, not a crash."""
    try:
        return reader(body)
    except InvalidInputError as error:
        raise UnreadableAnswerError(f"the answer cannot be read: {error}") from error


def _verdict(error: APIError) -> Exception:
    """Return what an error status proves. A refusal must say so in the broker's own words: a page
    of something between us and the broker, with whatever status, proves nothing."""
    status = int(error.status_code or 0)
    code, message = _words_of(str(error))
    if status in {requests.codes.too_many_requests, requests.codes.unauthorized}:
        return NotSentError(f"{status} {message or ''}".strip())
    if message is None:
        return UnreadableAnswerError(f"status {status} without a readable message")
    if code == 40010001 and "unique" in message:
        # An earlier request with this id arrived after all: look it up.
        return OutcomeUnknownError(message)
    if 400 <= status < 500 and status != requests.codes.request_timeout:
        return BrokerRefusedError(status, code, message)
    return OutcomeUnknownError(f"{status} {message}")


def _words_of(text: str) -> tuple[int | None, str | None]:
    """Return Alpaca's code and message of an error body; no message where it has none."""
    try:
        fields = Fields(json.loads(text), "error")
        code = fields.raw("code")
    except (ValueError, RecursionError):
        return None, None
    return code if type(code) is int else None, fields.reason("message")


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {ascii(str(error))[:200]}"


def _pause_s(error: APIError) -> float:
    """Return how long the broker asks us to wait, at most a minute."""
    response = error.response
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(60.0, float(asked)) if asked.isdigit() else _PAUSE_S_429
