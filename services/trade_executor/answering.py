"""A caller is answered in time; what was begun for him goes on without him."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from libs.common.kernel.errors import TradewindError, UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.readiness import Readiness

_log = get_logger(__name__)

T = TypeVar("T")


class Answering:
    """Waits for a piece of work at most `within_s` seconds.

    The books wait for their database for as long as it takes, because what happened at the
    broker must be written; a caller over HTTP cannot.
    """

    def __init__(self, readiness: Readiness, within_s: float) -> None:
        self._readiness = readiness
        self._within_s = within_s
        self._left: set[asyncio.Task[Any]] = set()

    async def of(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; raises UnavailableError, saying what is away, when it takes
        too long. The work goes on: its outcome is then to be asked for."""
        task = asyncio.create_task(work)
        done, _ = await asyncio.wait({task}, timeout=self._within_s)
        if done:
            return task.result()
        self._left.add(task)
        task.add_done_callback(self._ended)
        why = "; ".join(f"{part}: {reason}" for part, reason in self._readiness.reasons.items())
        raise UnavailableError(
            f"not done after {self._within_s:g} s, and may be done later: look at the order, or "
            f"ask again with the same Idempotency-Key ({why or 'the service is overloaded'})"
        )

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, TradewindError):
            _log.info("late_answer", error=str(error))
        elif error is not None:
            _log.error("late_answer_failed", exc_info=error)
