"""Work that goes on after its caller has been answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.endings import end_all
from libs.common.runtime.logging import get_logger
from libs.common.runtime.metrics import TASK_RESTARTS
from libs.common.runtime.resilience import pauses

_log = get_logger(__name__)


class Tasks:
    """Keeps background work alive, and waits for it at the end.

    Work that meets UnavailableError is begun again, later and later, so it must find by itself
    where it stands. Any other exception is a bug: logged once, counted, the work is dropped and
    left to the next reconciliation.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin `work` unless work of that name is under way."""
        if name in self._running:
            return
        task = asyncio.create_task(self._insist(name, work), name=name)
        self._running[name] = task
        task.add_done_callback(lambda _: self._running.pop(name, None))

    async def _insist(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async for _ in pauses(0.1, 5.0):
            try:
                await work()
            except UnavailableError as error:
                _log.warning("work_waits", work=name, error=str(error))
            except Exception:  # noqa: BLE001 - the edge of a task: logged once, with its name
                TASK_RESTARTS.labels("background").inc()
                _log.exception("work_failed", work=name)
                return
            else:
                return

    def working_on(self, name: str) -> bool:
        """Tell whether work of that name is under way."""
        return name in self._running

    def __len__(self) -> int:
        return len(self._running)

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing runs; False if that takes longer than `timeout_s`."""
        running = list(self._running.values())
        if not running:
            return True
        _, left = await asyncio.wait(running, timeout=timeout_s)
        return not left

    async def stop(self) -> None:
        """Cancel what still runs, and wait until it has ended."""
        await end_all(self._running.values())
