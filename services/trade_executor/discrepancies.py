"""Discrepancies in the hands of people: seen, and closed with a reason; both audited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select, update

from libs.common.contracts.channels import AUDIT_EVENTS
from libs.common.contracts.messages import AuditEvent
from libs.common.domain.orders import OrderEvent
from libs.common.kernel.errors import ConflictError, NotFoundError
from libs.common.kernel.ids import OrderId
from libs.common.runtime.logging import correlation_id_var
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import discrepancies
from services.trade_executor.gate import Blocks
from services.trade_executor.lifecycle import Lifecycle


class DiscrepancyDesk:
    """Notes that a person looks after a discrepancy, or that it is explained."""

    def __init__(
        self, runtime: Runtime, account_id: str, lifecycle: Lifecycle, blocks: Blocks
    ) -> None:
        self._runtime = runtime
        self._account_id = account_id
        self._lifecycle = lifecycle
        self._blocks = blocks

    async def acknowledge(self, identity: UUID, *, reason: str, actor: str) -> dict[str, Any]:
        """Note that `actor` knows of it; it goes on blocking. Raises NotFoundError,
        ConflictError if it is resolved."""
        now = self._runtime.clock.now()
        return await self._write(
            identity,
            {"acknowledged_at": now, "acknowledged_by": actor, "acknowledgement": reason},
            ("acknowledge", reason, actor, now),
        )

    async def resolve(self, identity: UUID, *, reason: str, actor: str) -> dict[str, Any]:
        """Close it, and let its symbol trade again. An order that the broker does not know ends
        as `canceled`. A difference that is still there opens a new discrepancy when it has been
        seen twice. Raises NotFoundError, ConflictError if it is resolved."""
        now = self._runtime.clock.now()
        row = await self._write(
            identity,
            {"resolved_at": now, "resolution": reason, "resolved_by": actor},
            ("resolve", reason, actor, now),
        )
        if row["kind"] == "order_missing":
            await self._lifecycle.happen(
                OrderId(UUID(row["detail"])),
                OrderEvent.CANCELED,
                reason=f"not at the broker; closed by {actor}: {reason}",
            )
        await self._blocks.clear(row["symbol"], row["kind"])
        return row

    async def _write(
        self,
        identity: UUID,
        values: Mapping[str, Any],
        act: tuple[str, str, str, dt.datetime],
    ) -> dict[str, Any]:
        action, reason, actor, now = act
        own = discrepancies.c.id == identity, discrepancies.c.account_id == self._account_id
        statement = (
            update(discrepancies)
            .where(*own, discrepancies.c.resolved_at.is_(None))
            .values(**values)
            .returning(*discrepancies.c)
        )
        async with self._runtime.database.write() as tx:
            row = await tx.row(statement)
            if row is None:
                known = await tx.row(select(discrepancies.c.resolved_at).where(*own))
                if known is None:
                    raise NotFoundError(f"there is no discrepancy {identity}")
                raise ConflictError(
                    f"discrepancy {identity} was resolved at {known['resolved_at']}"
                )
            await self._runtime.outbox.add(
                tx,
                AUDIT_EVENTS,
                AuditEvent(
                    event_type="executor.discrepancy",
                    actor=actor,
                    action=action,
                    resource=f"{self._account_id}:{row['symbol'] or 'account'}:{row['kind']}",
                    outcome="done",
                    ts=now,
                    details={
                        "id": str(identity),
                        "reason": reason,
                        "ours": row["ours"],
                        "theirs": row["theirs"],
                    },
                ),
                correlation_id=correlation_id_var.get() or self._runtime.ids.new(),
            )
        return dict(row)
