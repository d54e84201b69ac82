"""The executor's tables: orders, executions, ledger, positions, discrepancies."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.executions import Execution
from libs.common.domain.ledger import (
    CURRENCY,
    AccountKey,
    Transfer,
    TransferCode,
    capital_account,
    cash_account,
    fees_account,
    position_account,
)
from libs.common.domain.vocabulary import TERMINAL_STATUSES, Level, TradingState
from libs.common.kernel.ids import (
    AccountId,
    BrokerOrderId,
    OrderId,
    Symbol,
    TransferId,
    derived_id,
)
from libs.common.runtime.database import WriteSession
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import (
    discrepancies,
    ledger_accounts,
    ledger_transfers,
    orders,
    portfolio_positions,
    reconciliations,
    trades,
)
from libs.common.runtime.schema.risk import trading_state
from services.trade_executor.committer import Answer, Committer
from services.trade_executor.entries import EntryMaker, accounts_of
from services.trade_executor.model import BrokerPosition, CashActivity, Order, with_standing
from services.trade_executor.ports import (
    Discrepancy,
    Gate,
    Move,
    OpenDiscrepancy,
    ReconciliationRun,
    Recorded,
    Written,
)
from services.trade_executor.rows import order_from

_ENDED: Final = tuple(sorted(TERMINAL_STATUSES))
_CASH_CODES: Final = {"FEE", "CFEE", "PTC"}


class ExecutorStore:
    """Implements `Books` over PostgreSQL."""

    def __init__(self, runtime: Runtime, *, batch_max: int, margin: bool, shorting: bool) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._account = AccountId(runtime.settings.account_id)
        self._no_overdraft = {"cash": not margin, "position": not shorting}
        self._entries = EntryMaker(runtime.ids)
        self._known: set[AccountKey] = set()
        self.committer = Committer(
            runtime.database, runtime.outbox, runtime.readiness, batch_max=batch_max
        )

    # Writes of the trading path -------------------------------------------------------------

    async def create(
        self,
        order: Order,
        recorded: Sequence[Recorded],
        hold: Transfer | None,
        causation_id: UUID | None = None,
    ) -> Written:
        """Write a new order with its first events and its hold. Raises OverdraftError."""
        await self._ensure_accounts(order.symbol)
        now_ns = self._runtime.clock.now_ns()
        answer = await self._write(
            self._entries.create(order, recorded, hold, causation_id, now_ns)
        )
        written = _written(order, answer, self._runtime.clock.now())
        ours = (
            answer.repeated
            and written.outcome == "exists"
            and written.order.status is order.status
            and written.order.event_seq == len(recorded)
        )
        return Written("created", written.order) if ours else written

    async def move(self, order: Order, move: Move) -> Written:
        """Change an order's state if it still stands as `order` says."""
        await self._ensure_accounts(order.symbol)
        answer = await self._write(self._entries.move(order, move, self._runtime.clock.now_ns()))
        written = _written(order, answer, self._runtime.clock.now())
        ours = (
            answer.repeated
            and written.outcome == "conflict"
            and written.order.status is move.to_status
            and written.order.event_seq == order.event_seq + 1
        )
        return Written("moved", written.order) if ours else written

    async def book(self, order: Order, execution: Execution, *, source: str) -> Written:
        """Book one execution: trade, order, position, ledger, messages, in one transaction."""
        del source
        await self._ensure_accounts(order.symbol)
        entry = self._entries.book(order, execution, self._runtime.clock.now_ns())
        return _written(order, await self._write(entry), self._runtime.clock.now())

    async def _write(self, entry: dict[str, Any]) -> Answer:
        return await self.committer.write(entry)

    async def _ensure_accounts(self, symbol: Symbol) -> None:
        roles = accounts_of(self._account, symbol)
        if roles["position"] in self._known:
            return
        async with self._database.write() as tx:
            await _open(tx, roles, self._no_overdraft)
        self._known.update(roles.values())

    # Orders -----------------------------------------------------------------------------------

    async def order(self, order_id: OrderId) -> Order | None:
        """Return an order."""
        async with self._database.read() as session:
            row = await session.row(select(orders).where(orders.c.id == order_id))
        return order_from(row) if row else None

    async def order_at_broker(self, broker_order_id: BrokerOrderId) -> Order | None:
        """Return the order that the broker knows by this id."""
        async with self._database.read() as session:
            row = await session.row(
                select(orders).where(orders.c.broker_order_id == broker_order_id)
            )
        return order_from(row) if row else None

    async def open_orders(self) -> list[Order]:
        """Return every order that has not come to an end, oldest first."""
        query = (
            select(orders)
            .where(orders.c.account_id == self._account, orders.c.status.not_in(_ENDED))
            .order_by(orders.c.created_at, orders.c.id)
        )
        async with self._database.read() as session:
            return [order_from(row) for row in await session.rows(query)]

    async def execution_ids(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are booked."""
        query = select(trades.c.execution_id).where(trades.c.execution_id.in_(ids))
        async with self._database.read() as session:
            return {row["execution_id"] for row in await session.rows(query)}

    # Balances ---------------------------------------------------------------------------------

    async def positions(self) -> dict[Symbol, Decimal]:
        """Return our signed positions other than flat ones."""
        query = select(portfolio_positions.c.symbol, portfolio_positions.c.quantity).where(
            portfolio_positions.c.account_id == self._account,
            portfolio_positions.c.quantity != 0,
        )
        async with self._database.read() as session:
            return {Symbol(row["symbol"]): row["quantity"] for row in await session.rows(query)}

    async def cash(self) -> Decimal | None:
        """Return the ledger's cash, None if the account was never opened."""
        account = cash_account(self._account).id
        opened = (
            select(literal(1)).where(ledger_transfers.c.id == self._opening_id(CURRENCY)).exists()
        )
        query = select(ledger_accounts.c.credits_posted - ledger_accounts.c.debits_posted).where(
            ledger_accounts.c.id == account, opened
        )
        async with self._database.read() as session:
            balance: Decimal | None = (await session.execute(query)).scalar_one_or_none()
        return balance

    async def imbalances(self) -> dict[str, Decimal]:
        """Return the ledgers whose sum is not zero, with the difference."""
        total = func.sum(ledger_accounts.c.credits_posted - ledger_accounts.c.debits_posted)
        query = (
            select(ledger_accounts.c.ledger, total.label("difference"))
            .group_by(ledger_accounts.c.ledger)
            .having(total != 0)
        )
        async with self._database.read() as session:
            return {row["ledger"]: row["difference"] for row in await session.rows(query)}

    async def open_account(self, cash: Decimal, positions: Sequence[BrokerPosition]) -> None:
        """Open the ledger with what the broker shows; once in an account's life."""
        lines = [(CURRENCY, cash_account(self._account), cash)]
        lines += [
            (held.symbol, position_account(self._account, held.symbol), held.quantity)
            for held in positions
        ]
        async with self._database.write() as tx:
            await _open(tx, accounts_of(self._account, Symbol("")), self._no_overdraft, {"cash"})
            for held in positions:
                await _open(tx, accounts_of(self._account, held.symbol), self._no_overdraft)
            for ledger, account, amount in lines:
                if amount:
                    await self._deposit(
                        tx, self._opening_id(ledger), account, amount, TransferCode.OPENING
                    )
            if positions:
                await tx.execute(
                    upsert(portfolio_positions).on_conflict_do_nothing(),
                    [
                        {
                            "account_id": self._account,
                            "symbol": held.symbol,
                            "quantity": held.quantity,
                            "avg_cost": held.avg_cost,
                            "realized_pnl": Decimal(0),
                        }
                        for held in positions
                    ],
                )

    async def book_cash(self, activities: Sequence[CashActivity]) -> int:
        """Book money that moved without a trade; return how many were new."""
        new = 0
        for activity in activities:
            transfer_id = TransferId(derived_id("cash_activity", activity.id))
            known = select(ledger_transfers.c.id).where(ledger_transfers.c.id == transfer_id)
            async with self._database.write() as tx:
                if activity.amount == 0 or await tx.row(known):
                    continue
                code = TransferCode.FEE if activity.kind in _CASH_CODES else TransferCode.DEPOSIT
                account = cash_account(self._account)
                await self._deposit(tx, transfer_id, account, activity.amount, code)
            new += 1
        return new

    def _opening_id(self, ledger: str) -> TransferId:
        return TransferId(derived_id("opening", self._account, ledger))

    async def _deposit(
        self,
        tx: WriteSession,
        transfer_id: TransferId,
        account: AccountKey,
        amount: Decimal,
        code: TransferCode,
    ) -> None:
        """Move a signed amount into `account` from where it came."""
        other = (
            fees_account()
            if code is TransferCode.FEE
            else capital_account(self._account, account.ledger)
        )
        await _open(tx, {"other": other, "account": account}, {})
        debit, credit = (other, account) if amount > 0 else (account, other)
        if amount < 0:
            # It happened at the broker, so it is booked, and the flag falls.
            await tx.execute(
                update(ledger_accounts)
                .where(ledger_accounts.c.id == account.id)
                .values(no_overdraft=False)
            )
        await tx.execute(
            insert(ledger_transfers).values(
                id=transfer_id,
                debit_account=debit.id,
                credit_account=credit.id,
                ledger=account.ledger,
                amount=abs(amount),
                kind="direct",
                code=code,
                correlation_id=transfer_id,
                ts=self._runtime.clock.now(),
            )
        )

    # Kill switch, reconciliation, people -------------------------------------------------------

    async def gate(self) -> Gate | None:
        """Read the kill switch; None if the risk manager never set it."""
        query = select(trading_state.c.state, trading_state.c.generation).where(
            trading_state.c.account_id == self._account
        )
        async with self._database.read() as session:
            row = await session.row(query)
        return Gate(TradingState(row["state"]), row["generation"]) if row else None

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

    async def opened_at(self) -> dt.datetime | None:
        """Return the market time at which the ledger was opened."""
        query = select(func.min(reconciliations.c.watermark)).where(
            reconciliations.c.account_id == self._account, reconciliations.c.cause == "opening"
        )
        async with self._database.read() as session:
            found: dt.datetime | None = (await session.execute(query)).scalar_one_or_none()
        return found

    async def record_run(self, run: ReconciliationRun) -> None:
        """Keep what a reconciliation did."""
        async with self._database.write() as tx:
            await tx.execute(
                insert(reconciliations).values(
                    id=run.id,
                    account_id=self._account,
                    cause=run.cause,
                    started_at=run.started_at,
                    finished_at=run.finished_at,
                    watermark=run.watermark,
                    findings=run.findings,
                )
            )

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
                return False
            where = found.symbol or "account"
            await self._announce(
                tx,
                Level.CRITICAL,
                f"Books differ from the broker: {found.kind} {where}",
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
                f"Books agree again: {one.found.kind} {one.found.symbol or 'account'}",
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


def _written(order: Order, answer: Answer, now: dt.datetime) -> Written:
    said = answer.said
    return Written(
        outcome=said["outcome"],
        order=with_standing(order, said["order"], now),
        anomaly=said.get("anomaly"),
        lifted=answer.lifted,
    )


async def _open(
    tx: WriteSession,
    roles: dict[str, AccountKey],
    no_overdraft: dict[str, bool],
    only: Iterable[str] | None = None,
) -> None:
    """Make the accounts that are not there yet."""
    await tx.execute(
        upsert(ledger_accounts).on_conflict_do_nothing(),
        [
            {
                "id": key.id,
                "owner": key.owner,
                "ledger": key.ledger,
                "code": key.code,
                "no_overdraft": no_overdraft.get(role, False),
            }
            for role, key in roles.items()
            if only is None or role in only
        ],
    )
