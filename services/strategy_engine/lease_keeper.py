"""Keeps this replica's leases: renews them, takes over what the dead leave, gives what is more
than its share."""

from __future__ import annotations

import asyncio

from libs.common.runtime.logging import get_logger
from services.strategy_engine.engine import Engine
from services.strategy_engine.metrics import LEASES_HELD, LEASES_MOVED
from services.strategy_engine.ports import Leases

_log = get_logger(__name__)


class LeaseKeeper:
    """Looks every `renew_s`; the engine restores what is ours by now."""

    def __init__(self, engine: Engine, leases: Leases, *, renew_s: float) -> None:
        self._engine = engine
        self._leases = leases
        self._renew_s = renew_s

    async def run(self) -> None:
        """Renew until cancelled. Raises UnavailableError."""
        while True:
            await self.renew()
            await asyncio.sleep(self._renew_s)

    async def renew(self) -> None:
        """Renew once, and act on what is different."""
        plan = await self._leases.renew()
        if plan.give:
            async with self._engine.boundary():
                # All that was stepped is stored; what is stepped from here on is the receiver's.
                await self._leases.give(plan.give)
                self._engine.distrust()
            LEASES_MOVED.labels("given").inc(len(plan.give))
            _log.info("strategies_given", receivers=dict(plan.give))
        if plan.take:
            LEASES_MOVED.labels("taken").inc(len(plan.take))
            _log.info("strategies_taken", strategies=list(plan.take))
        held = await self._leases.held()
        LEASES_HELD.set(len(held))
        if held != self._engine.holdings.epochs:
            self._engine.distrust()
