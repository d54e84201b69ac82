"""The tables of control: kill switch, limits with their history, the account's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.errors import ConflictError
from libs.common.runtime.database import Database, WriteSession
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema import risk
from services.risk_manager import sql
from services.risk_manager.desk import Switch
from services.risk_manager.limits import LimitKey, Scope
from services.risk_manager.ports import LimitChange, Outgoing, Valuation
from services.risk_manager.post import Post


class RiskRegistry:
    """What people and rules have set for one account, and what it was worth."""

    def __init__(self, database: Database, outbox: Outbox, account_id: str) -> None:
        self._database = database
        self._post = Post(outbox)
        self._account = account_id

    async def switch(self) -> Switch | None:
        """Return the kill switch, None before the first start."""
        t = risk.trading_state
        async with self._database.read() as tx:
            row = await tx.row(select(t).where(t.c.account_id == self._account))
        if row is None:
            return None
        state = TradingState(row["state"])
        return Switch(
            state, row["generation"], row["reason"], row["set_by"], row["set_at"], row["flatten"]
        )

    async def set_switch(self, switch: Switch, messages: Sequence[Outgoing]) -> None:
        """Store the kill switch if its generation is the next one. Raises ConflictError."""
        async with self._database.write() as tx:
            done = await tx.execute(
                text(sql.SET_SWITCH),
                {
                    "account": self._account,
                    "state": switch.state.value,
                    "generation": switch.generation,
                    "reason": switch.reason,
                    "set_by": switch.set_by,
                    "set_at": switch.set_at,
                    "flatten": switch.flatten,
                },
            )
            if done.rowcount != 1:
                raise ConflictError(
                    f"the kill switch is not at generation {switch.generation - 1} any more"
                )
            await self._post.send(tx, messages)

    async def limits(self) -> Mapping[LimitKey, Decimal]:
        """Return all limits of the account."""
        return {_key(r): r["value"] for r in await self.limit_rows()}

    async def limit_rows(self) -> Sequence[Mapping[str, Any]]:
        """Return the account's limits as they stand in their table."""
        t = risk.risk_limits
        query = select(t).where(t.c.account_id == self._account)
        async with self._database.read() as tx:
            found = await tx.rows(query.order_by(t.c.scope, t.c.scope_key, t.c.name))
        return [dict(r) for r in found]

    async def set_limits(self, changes: Sequence[LimitChange]) -> None:
        """Store changes of limits with their history."""
        async with self._database.write() as tx:
            for change in changes:
                await self._set_limit(tx, change)
                await self._post.send(tx, change.messages)

    async def _set_limit(self, tx: WriteSession, change: LimitChange) -> None:
        t, key = risk.risk_limits, change.key
        where = {
            "account_id": self._account,
            "scope": key.scope.value,
            "scope_key": key.key,
            "name": key.name,
        }
        if change.new is None:
            matches = [t.c[column] == value for column, value in where.items()]
            await tx.execute(delete(t).where(*matches))
        else:
            values = {"value": change.new, "set_by": change.set_by, "set_at": change.set_at}
            put = upsert(t).values(**where, **values)
            await tx.execute(put.on_conflict_do_update(index_elements=list(where), set_=values))
        await tx.execute(
            insert(risk.risk_limits_history).values(
                **where,
                old_value=change.old,
                new_value=change.new,
                set_by=change.set_by,
                reason=change.reason,
                set_at=change.set_at,
            )
        )

    async def limit_history(self, *, limit: int, after: int | None) -> Sequence[Mapping[str, Any]]:
        """Return a page of changes of limits, newest first, older than `after`."""
        t = risk.risk_limits_history
        query = select(t).where(t.c.account_id == self._account)
        if after is not None:
            query = query.where(t.c.id < after)
        async with self._database.read() as tx:
            found = await tx.rows(query.order_by(t.c.id.desc()).limit(limit))
        return [dict(r) for r in found]

    async def last_valuation(self) -> Valuation | None:
        """Return the newest row of `risk_metrics`."""
        t = risk.risk_metrics
        query = select(t).where(t.c.account_id == self._account).order_by(t.c.ts.desc()).limit(1)
        async with self._database.read() as tx:
            row = await tx.row(query)
        if row is None:
            return None
        return Valuation(**{name: row[name] for name in Valuation.__slots__})

    async def add_valuation(self, valuation: Valuation) -> None:
        """Store one row of `risk_metrics`; the same market time is written over."""
        values = {name: getattr(valuation, name) for name in Valuation.__slots__}
        put = upsert(risk.risk_metrics).values(account_id=self._account, **values)
        async with self._database.write() as tx:
            await tx.execute(
                put.on_conflict_do_update(index_elements=["account_id", "ts"], set_=values)
            )


def _key(row: Mapping[Any, Any]) -> LimitKey:
    return LimitKey(Scope(row["scope"]), row["scope_key"], row["name"])
