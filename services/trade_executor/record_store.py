"""The kill switch as read, runs of reconciliation, discrepancies, notifications."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Insert, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.ids import AccountId
from libs.common.runtime.database import FENCE, WriteSession
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import discrepancies, reconciliations
from services.trade_executor.ports import (
    Discrepancy,
    Gate,
    OpenDiscrepancy,
    Opening,
    ReconciliationRun,
)
from services.trade_executor.rows import gate_from

_GATE = text(
    f"SELECT t.state, t.generation, t.flatten FROM {FENCE}"  # nosec B608 # our own constants
    " LEFT JOIN trading_state t ON t.account_id = :account"
)


class RecordStore:
    """What is kept beside the trading path, and told to people."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._account = AccountId(runtime.settings.account_id)

    async def gate(self) -> Gate | None:
        """Read the kill switch; None if the risk manager never set it. Raises UnavailableError
        also where another executor works for the account."""
        async with self._database.single() as session:
            row = await session.row(_GATE, {"account": self._account, **self._database.fence})
        return None if row is None else gate_from(row)

    async def watermark(self) -> dt.datetime | None:
        """Return the market time up to which executions have been compared."""
        query = (
            select(reconciliations.c.watermark)
            .where(reconciliations.c.account_id == self._account)
            .order_by(reconciliations.c.finished_at.desc())
            .limit(1)
        )
        async with self._database.read() as session:
            found: dt.datetime | None = (await session.execute(query)).scalar_one_or_none()
        return found

    async def opening(self) -> Opening | None:
        """Return what the opening balance already holds; None if the account is not open."""
        query = (
            select(reconciliations.c.watermark, reconciliations.c.findings)
            .where(
                reconciliations.c.account_id == self._account, reconciliations.c.cause == "opening"
            )
            .order_by(reconciliations.c.finished_at)
            .limit(1)
        )
        async with self._database.read() as session:
            row = await session.row(query)
        if row is None:
            return None
        found, opened = row["findings"], row["findings"].get("opened")
        return Opening(
            row["watermark"],
            frozenset(found.get("activities", ())),
            dt.datetime.fromisoformat(opened) if opened else None,
        )

    async def record_run(self, run: ReconciliationRun) -> None:
        """Keep what a reconciliation did."""
        async with self._database.write() as tx:
            await tx.execute(run_row(self._account, run))

    async def open_discrepancies(self) -> list[OpenDiscrepancy]:
        """Return what is not resolved."""
        query = select(discrepancies).where(
            discrepancies.c.account_id == self._account, discrepancies.c.resolved_at.is_(None)
        )
        async with self._database.read() as session:
            return [
                OpenDiscrepancy(
                    row["id"],
                    Discrepancy(
                        row["symbol"], row["kind"], row["ours"], row["theirs"], row["detail"]
                    ),
                    row["opened_at"],
                )
                for row in await session.rows(query)
            ]

    async def open_discrepancy(self, found: Discrepancy) -> bool:
        """Put a difference on record and alert; False if it is there already."""
        statement = (
            upsert(discrepancies)
            .values(
                id=self._runtime.ids.new(),
                account_id=self._account,
                symbol=found.symbol,
                kind=found.kind,
                ours=found.ours,
                theirs=found.theirs,
                detail=found.detail,
            )
            .on_conflict_do_nothing()
            .returning(discrepancies.c.id)
        )
        async with self._database.write() as tx:
            fresh = await tx.row(statement)
            if fresh is None:
                # An order's anomaly was put on record, with its alert, by the commit that wrote it.
                await self._runtime.outbox.hasten(tx, NOTIFICATIONS)
                return False
            await self._announce(
                tx,
                Level.CRITICAL,
                _title(found),
                f"ours {found.ours}, theirs {found.theirs}. {found.detail} "
                "No new risk there until it is explained.",
                f"discrepancy:{self._account}:{found.symbol}:{found.kind}",
                {"ours": found.ours, "theirs": found.theirs, "symbol": found.symbol},
            )
        return True

    async def resolve_discrepancy(self, one: OpenDiscrepancy, resolution: str) -> None:
        """Note how a difference ended."""
        async with self._database.write() as tx:
            await tx.execute(
                update(discrepancies)
                .where(discrepancies.c.id == one.id, discrepancies.c.resolved_at.is_(None))
                .values(resolved_at=self._runtime.clock.now(), resolution=resolution)
            )
            await self._announce(
                tx,
                Level.INFO,
                f"Mended: {one.found.kind} {one.found.symbol or 'account'}",
                resolution,
                f"discrepancy_end:{one.id}",
                {"symbol": one.found.symbol},
            )

    async def notify(
        self, level: Level, title: str, message: str, fingerprint: str, context: dict[str, str]
    ) -> None:
        """Tell people."""
        async with self._database.write() as tx:
            await self._announce(tx, level, title, message, fingerprint, context)

    async def _announce(
        self,
        tx: WriteSession,
        level: Level,
        title: str,
        message: str,
        fingerprint: str,
        context: dict[str, str],
    ) -> None:
        notification = Notification(
            level=level,
            title=title,
            message=message,
            fingerprint=fingerprint,
            ts=self._runtime.clock.now(),
            context=context,
        )
        await self._runtime.outbox.add(
            tx,
            NOTIFICATIONS,
            notification,
            correlation_id=self._runtime.ids.new(),
            key="execution",
        )


def run_row(account: AccountId, run: ReconciliationRun) -> Insert:
    """Return the statement that keeps what a reconciliation did."""
    return insert(reconciliations).values(
        id=run.id,
        account_id=account,
        cause=run.cause,
        started_at=run.started_at,
        finished_at=run.finished_at,
        watermark=run.watermark,
        findings=run.findings,
    )


def _title(found: Discrepancy) -> str:
    where = found.symbol or "account"
    if found.kind == "naked":  # no difference of books, but it stops new risk like one
        return f"Position stands naked: {where}"
    return f"Books differ from the broker: {found.kind} {where}"
