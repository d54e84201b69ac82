"""Waiting and trying again, through libraries kept by others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from aiolimiter import AsyncLimiter
from purgatory import AsyncCircuitBreakerFactory
from purgatory.domain.messages.events import ContextChanged
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from libs.common.runtime.metrics import CIRCUIT_STATE

T = TypeVar("T")

# Where all jitter comes from; a simulation seeds it, so that a run can be had again.
jitter: Final = random.Random()  # nosec B311 # spreads retries, guards nothing

_CIRCUIT_LEVEL = {"closed": 0, "half-opened": 1, "opened": 2}


def token_bucket(rate: float, per_s: float) -> AsyncLimiter:
    """Return a limiter that admits `rate` calls in `per_s` seconds (leaky bucket)."""
    return AsyncLimiter(rate, per_s)


async def retry(
    work: Callable[[], Awaitable[T]],
    *,
    on: type[Exception] | tuple[type[Exception], ...],
    attempts: int,
    delay_s: float,
    delay_s_max: float,
) -> T:
    """Run `work` until it succeeds, at most `attempts` times, with jittered exponential waits.

    Only exceptions of `on` are tried again; the last one is raised. Never use it around a
    request that is not idempotent.
    """
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(on),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=delay_s, max=delay_s_max),
        reraise=True,
    ):
        with attempt:
            return await work()
    raise AssertionError("tenacity ends by result or exception")


async def pauses(delay_s: float, delay_s_max: float) -> AsyncIterator[int]:
    """Yield 0, 1, 2, … for ever; before each but the first, sleep a growing jittered time.

    For loops that reconnect: make a new iterator after a success to start over.
    """
    attempt = 0
    while True:
        yield attempt
        ceiling = min(delay_s_max, delay_s * 2**attempt)
        await asyncio.sleep(jitter.uniform(ceiling / 2, ceiling))
        attempt = min(attempt + 1, 30)


def circuit_factory(failures_max: int, reset_s: float) -> AsyncCircuitBreakerFactory:
    """Return a factory of circuit breakers that open after `failures_max` failures in a row.

    Its breakers' states are exported as the metric `circuit_state`.
    """
    factory = AsyncCircuitBreakerFactory(default_threshold=failures_max, default_ttl=reset_s)

    def on_event(name: str, kind: str, event: object) -> None:
        del kind
        if isinstance(event, ContextChanged):
            CIRCUIT_STATE.labels(name).set(_CIRCUIT_LEVEL.get(event.state, 2))

    factory.add_listener(on_event)
    return factory
