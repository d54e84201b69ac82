"""The end of an executor that is asked to stop: what is under way comes to its answer, what is
remembered is written; each for a part of the time there is, whatever fails beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.trade_executor.tasks import Tasks

_log = get_logger(__name__)

# Of the time-out of one stop hook; the rest is for closing connections.
_TASKS_PART = 0.5
_WRITES_PART = 0.4


class Writer(Protocol):
    """Something with a buffer in front of the database."""

    @property
    def waiting(self) -> int:
        """How much is not written yet."""
        ...

    async def flush(self) -> None:
        """Write what waits. Raises UnavailableError."""
        ...


async def finish(
    tasks: Tasks,
    writers: Mapping[str, Writer],
    closers: Sequence[Callable[[], Awaitable[None]]],
    timeout_s: float,
) -> None:
    """Let what is being sent come to its answer, write, close; orders are left at the broker.

    What cannot be written, because the database is away, is told in one line with its counts.
    The books lose nothing by it: what the broker did is booked from its own lists at the next
    start.
    """
    await tasks.idle(timeout_s * _TASKS_PART)
    await tasks.stop()
    try:
        for close in closers:
            await close()
    finally:
        await _write(writers, timeout_s * _WRITES_PART / len(writers))


async def _write(writers: Mapping[str, Writer], each_s: float) -> None:
    for writer in writers.values():
        with suppress(UnavailableError, TimeoutError):
            await asyncio.wait_for(writer.flush(), each_s)
    left = {name: writer.waiting for name, writer in writers.items() if writer.waiting}
    if left:
        _log.error("unwritten_at_the_end", **left)
