"""The tables of closings and triggers over the simulated database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from libs.common.contracts.messages import MarketData
from libs.common.domain.instruments import Instrument
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import NotFoundError
from services.trade_executor.closing import Closing, ClosingStatus
from services.trade_executor.trigger import ENDED, Trigger, TriggerStatus
from tests.simulation.vault import SimDatabase, Transaction


class SimClosingStore:
    """Implements `ClosingBook`."""

    def __init__(self, server: SimDatabase) -> None:
        self._server = server

    async def add(self, closing: Closing) -> Closing:
        """Keep a new closing, or return what its id stands for."""

        def write(tx: Transaction) -> Closing:
            table = tx.tables.closings
            if closing.id not in table:
                tx.put(table, closing.id, closing)
                tx.note("closing", closing.id, closing.symbol, closing.cause)
            return table[closing.id]

        return await self._server.ask("closing_add", write)

    async def get(self, closing_id: UUID) -> Closing:
        """Return a closing. Raises NotFoundError."""
        found = await self._server.ask("closing", lambda tx: tx.tables.closings.get(closing_id))
        if found is None:
            raise NotFoundError(f"there is no closing {closing_id}")
        return found

    async def open(self) -> Sequence[Closing]:
        """Return those that have not come to an end, oldest first."""
        return await self._server.ask(
            "closings_open",
            lambda tx: [c for c in tx.tables.closings.values() if c.status is ClosingStatus.OPEN],
        )

    async def note(self, closing: Closing, **facts: Any) -> Closing:
        """Write facts of an open closing; return it as it then stands."""

        def write(tx: Transaction) -> Closing:
            table = tx.tables.closings
            known = table[closing.id]
            if known.status is ClosingStatus.OPEN:
                tx.put(table, closing.id, replace(known, **facts))
                tx.note("closing.note", closing.id, sorted(facts))
            return table[closing.id]

        return await self._server.ask("closing_note", write)

    async def quantity_step(self, symbol: str) -> Decimal | None:
        """Return the finest step of quantity: whole shares, as the risk manager is told too."""
        return await self._server.ask("step", lambda tx: Instrument(symbol).quantity_step)


class SimTriggerStore:
    """Implements `TriggerBook`; prices come by the market's broadcast alone."""

    def __init__(self, server: SimDatabase, clock: Clock) -> None:
        self._server = server
        self._clock = clock

    async def add(self, trigger: Trigger) -> Trigger:
        """Keep a new trigger, or return what its id stands for."""

        def write(tx: Transaction) -> Trigger:
            if trigger.id not in tx.tables.triggers_kept:
                tx.put(tx.tables.triggers_kept, trigger.id, trigger)
            return tx.tables.triggers_kept[trigger.id]

        return await self._server.ask("trigger_add", write)

    async def find(self, trigger_id: UUID) -> Trigger | None:
        """Return a trigger."""
        return await self._server.ask("trigger", lambda tx: tx.tables.triggers_kept.get(trigger_id))

    async def get(self, trigger_id: UUID) -> Trigger:
        """Return a trigger. Raises NotFoundError."""
        found = await self.find(trigger_id)
        if found is None:
            raise NotFoundError(f"there is no trigger {trigger_id}")
        return found

    async def standing(self) -> Sequence[Trigger]:
        """Return those that have not come to an end, oldest first."""
        return await self._server.ask(
            "triggers",
            lambda tx: [t for t in tx.tables.triggers_kept.values() if t.status not in ENDED],
        )

    async def move(
        self, trigger: Trigger, to: TriggerStatus, reason: str | None = None, **facts: Any
    ) -> Trigger | None:
        """Change a trigger's status; None if it no longer stands as `trigger` says."""

        def write(tx: Transaction) -> Trigger | None:
            known = tx.tables.triggers_kept[trigger.id]
            if (known.status, known.firing) != (trigger.status, trigger.firing):
                return None
            moved = replace(known, status=to, reason=reason, updated_at=tx.now, **facts)
            tx.put(tx.tables.triggers_kept, trigger.id, moved)
            tx.note("trigger", trigger.id, to, reason)
            return moved

        return await self._server.ask("trigger_move", write)

    async def last_quotes(self, symbols: Collection[str]) -> Sequence[MarketData]:
        """Nothing is stored: the next quote is a second away."""
        return await self._server.ask("last_quotes", lambda tx: [])
