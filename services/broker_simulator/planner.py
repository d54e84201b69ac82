"""Carrying out a fault plan: each fault on at its time, off after its length, and written down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from libs.common.runtime.logging import get_logger
from services.broker_simulator.fault_request import FaultRequest, fresh
from services.broker_simulator.plan import Plan, PlannedFault, schedule

_log = get_logger(__name__)
_LISTED_MAX = 1000


class Struck(msgspec.Struct, kw_only=True):
    """One fault of the plan as it went: `on_s` and `off_s` after the plan began."""

    planned: PlannedFault
    on_s: float
    off_s: float | None = None


class Planner:
    """Runs at most one plan at a time. `on` turns a request on and returns how to end it."""

    def __init__(self, on: Callable[[FaultRequest], Callable[[], None]]) -> None:
        self._on = on
        self._plan: Plan | None = None
        self._task: asyncio.Task[None] | None = None
        self._ends: dict[int, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}
        self._listed: list[Struck] = []
        self._begun = 0.0

    def set(self, plan: Plan) -> None:
        """Take a plan in the place of the one before; `begin` starts it."""
        self.stop()
        self._plan, self._listed = plan, []

    def begin(self) -> None:
        """Start the plan that was set, once a loop runs."""
        if self._plan is not None and self._task is None:
            self._begun = asyncio.get_running_loop().time()
            self._task = asyncio.create_task(self._run(self._plan), name="fault plan")

    def stop(self) -> None:
        """End the plan and what it has on."""
        if self._task is not None:
            self._task.cancel()
        for timer, end in list(self._ends.values()):
            timer.cancel()
            end()
        self._ends.clear()
        self._plan = self._task = None

    def shown(self) -> dict[str, Any] | None:
        """Return the plan, whether it still runs, and what it did: the newest thousand."""
        if self._plan is None:
            return None
        running = self._task is not None and not self._task.done()
        return {
            **msgspec.to_builtins(self._plan),
            "running": running or bool(self._ends),
            "items": [
                {**msgspec.to_builtins(one.planned), "on_s": one.on_s, "off_s": one.off_s}
                for one in self._listed
            ],
        }

    async def _run(self, plan: Plan) -> None:
        loop = asyncio.get_running_loop()
        for planned in schedule(plan):
            await asyncio.sleep(max(0.0, self._begun + planned.at_s - loop.time()))
            struck = Struck(planned=planned, on_s=self._elapsed())
            self._listed = [*self._listed[1 - _LISTED_MAX :], struck]
            end = self._on(fresh(planned.kind))
            timer = loop.call_later(planned.seconds, self._end, struck)
            self._ends[planned.number] = (timer, end)
            _log.info("fault_on", number=planned.number, kind=planned.kind)

    def _end(self, struck: Struck) -> None:
        _, end = self._ends.pop(struck.planned.number)
        end()
        struck.off_s = self._elapsed()

    def _elapsed(self) -> float:
        return round(asyncio.get_running_loop().time() - self._begun, 3)
