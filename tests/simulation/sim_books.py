"""The executor's books over the simulated database: its own store, group commit and entries are
the real ones; only what is asked in SQL is answered here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution
from libs.common.domain.ledger import (
    CURRENCY,
    AccountKey,
    Transfer,
    TransferCode,
    capital_account,
    cash_account,
    imbalances,
    position_account,
)
from libs.common.domain.positions import Position
from libs.common.domain.replay import Change, ChangeKind
from libs.common.domain.vocabulary import TERMINAL_STATUSES, Level
from libs.common.kernel.ids import BrokerOrderId, OrderId, Symbol, TransferId, derived_id
from services.trade_executor.entries import accounts_of
from services.trade_executor.model import BrokerPosition, Order
from services.trade_executor.ports import (
    Discrepancy,
    Gate,
    OpenDiscrepancy,
    Opening,
    ReconciliationRun,
)
from services.trade_executor.rows import order_from
from services.trade_executor.store import ExecutorStore
from tests.simulation.server_side import SOURCE
from tests.simulation.tables import BookedChange
from tests.simulation.vault import SimDatabase, Transaction


class SimBooks(ExecutorStore):
    """Implements `Books`."""

    @property
    def _server(self) -> SimDatabase:
        return self._database  # type: ignore[return-value]

    # Orders -----------------------------------------------------------------------------------

    async def order(self, order_id: OrderId) -> Order | None:
        """Return an order."""
        return await self._first("order", lambda row: row["id"] == order_id)

    async def order_at_broker(self, broker_order_id: BrokerOrderId) -> Order | None:
        """Return the order that the broker knows by this id."""
        return await self._first(
            "order_at_broker", lambda row: row["broker_order_id"] == broker_order_id
        )

    async def _first(self, what: str, matches: Any) -> Order | None:
        def look(tx: Transaction) -> Order | None:
            found = (row for row in tx.tables.orders.values() if matches(row))
            row = next(found, None)
            return order_from(row) if row else None  # type: ignore[arg-type]

        return await self._server.ask(what, look)

    async def open_orders(self) -> list[Order]:
        """Return every order that has not come to an end, oldest first."""

        def look(tx: Transaction) -> list[Order]:
            rows = [r for r in tx.tables.orders.values() if r["status"] not in TERMINAL_STATUSES]
            rows.sort(key=lambda row: (row["created_at"], row["id"]))
            return [order_from(row) for row in rows]  # type: ignore[arg-type]

        return await self._server.ask("open_orders", look)

    async def execution_ids(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are booked, or were taken back before they could be."""
        return await self._server.ask(
            "execution_ids",
            lambda tx: {
                one for one in ids if one in tx.tables.trades or one in tx.tables.reversals
            },
        )

    async def executions(self, order_id: OrderId) -> list[Execution]:
        """Return an order's booked executions that stand, oldest first, corrections left out."""

        def look(tx: Transaction) -> list[Execution]:
            records = {one.record_id for one in tx.tables.reversals.values()}
            trades = [
                t
                for t in tx.tables.standing()
                if t.order_id == order_id and t.execution.execution_id not in records
            ]
            return sorted((t.execution for t in trades), key=lambda one: one.executed_at)

        return await self._server.ask("executions", look)

    # Ledger -----------------------------------------------------------------------------------

    async def ensure_accounts(self, symbol: Symbol) -> None:
        """Make the accounts that trading `symbol` touches, once."""
        roles = accounts_of(self._account, symbol)
        if roles["position"] in self._known:
            return
        await self._server.ask("ensure_accounts", lambda tx: self._open(tx, roles))
        self._known.update(roles.values())

    async def ensure_capital(self, symbol: Symbol) -> None:
        """Make the accounts that opening balances come from."""
        roles = {name: capital_account(self._account, name) for name in (CURRENCY, symbol)}
        await self._server.ask("ensure_capital", lambda tx: self._open(tx, roles))

    def _open(self, tx: Transaction, roles: dict[str, AccountKey]) -> None:
        for role, key in roles.items():
            flag = self._no_overdraft.get(role, False)
            tx.tables.ledger.balances = dict(tx.tables.ledger.balances)
            tx.tables.ledger.open_account(key, no_overdraft=flag)

    async def positions(self) -> dict[Symbol, Decimal]:
        """Return our signed positions other than flat ones."""
        return await self._server.ask(
            "positions",
            lambda tx: {
                Symbol(name): held.quantity
                for name, held in tx.tables.positions.items()
                if held.quantity
            },
        )

    async def cash(self) -> Decimal | None:
        """Return the ledger's cash, None if the account was never opened."""

        def look(tx: Transaction) -> Decimal | None:
            if self._opening_id(CURRENCY) not in tx.tables.ledger.transfers:
                return None
            return tx.tables.ledger.balance(cash_account(self._account)).posted

        return await self._server.ask("cash", look)

    async def imbalances(self) -> dict[str, Decimal]:
        """Return the ledgers whose sum is not zero, with the difference."""
        return await self._server.ask(
            "imbalances", lambda tx: imbalances(tx.tables.ledger.balances)
        )

    async def open_account(
        self, cash: Decimal, positions: Sequence[BrokerPosition], opened: ReconciliationRun
    ) -> None:
        """Open the ledger with what the broker shows; once in an account's life."""

        def write(tx: Transaction) -> None:
            if any(run.cause == "opening" for run in tx.tables.runs.values()):
                raise AssertionError("the account is opened twice")
            tx.put(tx.tables.runs, opened.id, opened)
            self._open(tx, {"cash": cash_account(self._account)})
            self._deposit_now(
                tx, self._opening_id(CURRENCY), cash_account(self._account), cash,
                TransferCode.OPENING,
            )  # fmt: skip
            for held in positions:
                self._open(tx, accounts_of(self._account, held.symbol))
                self._deposit_now(
                    tx, self._opening_id(held.symbol),
                    position_account(self._account, held.symbol), held.quantity,
                    TransferCode.OPENING,
                )  # fmt: skip
                tx.put(
                    tx.tables.positions, held.symbol,
                    Position(held.quantity, held.avg_cost),
                )  # fmt: skip
                change = Change(ChangeKind.OPENING, held.quantity, held.avg_cost)
                parts = ((None, held.quantity),)
                came = BookedChange(derived_id("opened", held.symbol), held.symbol, 0, change,
                                    parts, tx.now, tx.now)  # fmt: skip
                tx.put(tx.tables.changes, came.id, came)

        await self._server.ask("open_account", write)

    async def ensure_activity_accounts(self, activities: Sequence[Activity]) -> None:
        """The tables make an account when it is first written to; those of trading are flagged."""
        for symbol in {one.symbol for one in activities if one.symbol}:
            await self.ensure_accounts(Symbol(symbol))

    def _deposit_now(
        self, tx: Transaction, transfer_id: TransferId, account: AccountKey, amount: Decimal,
        code: TransferCode,
    ) -> None:  # fmt: skip
        other = capital_account(self._account, account.ledger)
        self._open(tx, {"other": other})
        debit, credit = (other, account) if amount > 0 else (account, other)
        tx.tables.ledger.commit(
            [Transfer(transfer_id, debit, credit, abs(amount), code)], happened=True
        )

    # Records ----------------------------------------------------------------------------------

    async def gate(self) -> Gate | None:
        """Read the kill switch; None if the risk manager never set it."""

        def look(tx: Transaction) -> Gate | None:
            switch = tx.tables.switch.get(self._account)
            return Gate(switch.state, switch.generation, switch.flatten) if switch else None

        return await self._server.ask("gate", look)

    async def watermark(self) -> dt.datetime | None:
        """Return the market time up to which executions have been compared."""

        def look(tx: Transaction) -> dt.datetime | None:
            runs = tx.tables.runs.values()
            return max(runs, key=lambda run: run.finished_at).watermark if runs else None

        return await self._server.ask("watermark", look)

    async def opening(self) -> Opening | None:
        """Return what the opening balance already holds; None if the account is not open."""

        def look(tx: Transaction) -> Opening | None:
            runs = [run for run in tx.tables.runs.values() if run.cause == "opening"]
            if not runs:
                return None
            first = min(runs, key=lambda run: run.finished_at)
            return Opening(first.watermark, frozenset(first.findings.get("activities", ())))

        return await self._server.ask("opening", look)

    async def record_run(self, run: ReconciliationRun) -> None:
        """Keep what a reconciliation did."""
        await self._server.ask("record_run", lambda tx: tx.put(tx.tables.runs, run.id, run))

    async def open_discrepancies(self) -> list[OpenDiscrepancy]:
        """Return what is not resolved."""
        return await self._server.ask("open_discrepancies", lambda tx: tx.tables.unresolved())

    async def open_discrepancy(self, found: Discrepancy) -> bool:
        """Put a difference on record and alert; False if it is there already."""
        one = self._runtime.ids.new()

        def write(tx: Transaction) -> bool:
            where = (found.symbol, found.kind)
            if any((o.found.symbol, o.found.kind) == where for o in tx.tables.unresolved()):
                return False
            tx.put(tx.tables.discrepancies, one, OpenDiscrepancy(one, found, tx.now))
            return True

        return await self._server.ask("open_discrepancy", write)

    async def resolve_discrepancy(self, one: OpenDiscrepancy, resolution: str) -> None:
        """Note how a difference ended."""
        await self._server.ask(
            "resolve_discrepancy", lambda tx: tx.put(tx.tables.resolved, one.id, resolution)
        )

    async def notify(
        self, level: Level, title: str, message: str, fingerprint: str, context: dict[str, str]
    ) -> None:
        """Tell people."""
        told = Notification(
            level=level, title=title, message=message, fingerprint=fingerprint,
            ts=self._runtime.clock.now(), context=context,
        )  # fmt: skip
        correlation: UUID = self._runtime.ids.new()
        await self._server.ask(
            "notify", lambda tx: tx.tell(SOURCE, NOTIFICATIONS, told, correlation)
        )
