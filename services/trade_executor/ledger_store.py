"""The ledger's accounts, opening and cash movements, and the balances of positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.domain.activities import Activity
from libs.common.domain.ledger import (
    CURRENCY,
    AccountKey,
    TransferCode,
    capital_account,
    cash_account,
    position_account,
)
from libs.common.domain.replay import ChangeKind
from libs.common.kernel.ids import AccountId, Symbol, TransferId, derived_id
from libs.common.runtime.database import WriteSession
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.execution import (
    ledger_accounts,
    ledger_transfers,
    portfolio_positions,
    position_changes,
)
from services.trade_executor.entries import accounts_of
from services.trade_executor.model import BrokerPosition
from services.trade_executor.ports import ReconciliationRun
from services.trade_executor.record_store import run_row


class LedgerStore:
    """Opens accounts and reads balances. What trading writes goes through `executor_write`."""

    def __init__(self, runtime: Runtime, *, margin: bool, shorting: bool) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._account = AccountId(runtime.settings.account_id)
        self._no_overdraft = {"cash": not margin, "position": not shorting}
        self._known: set[AccountKey] = set()

    async def ensure_accounts(self, symbol: Symbol) -> None:
        """Make the accounts that trading `symbol` touches, once."""
        roles = accounts_of(self._account, symbol)
        if roles["position"] in self._known:
            return
        async with self._database.write() as tx:
            await _open(tx, roles, self._no_overdraft)
        self._known.update(roles.values())

    async def ensure_capital(self, symbol: Symbol) -> None:
        """Make the accounts that the opening balances of money and of `symbol` come from."""
        ledgers = (CURRENCY, symbol)
        async with self._database.write() as tx:
            await _open(tx, {name: capital_account(self._account, name) for name in ledgers}, {})

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

    async def open_account(
        self, cash: Decimal, positions: Sequence[BrokerPosition], opened: ReconciliationRun
    ) -> None:
        """Open the ledger with what the broker shows, and note what that holds already; once in
        an account's life."""
        lines = [(CURRENCY, cash_account(self._account), cash)]
        lines += [
            (held.symbol, position_account(self._account, held.symbol), held.quantity)
            for held in positions
        ]
        async with self._database.write() as tx:
            await tx.execute(run_row(self._account, opened))
            await _open(tx, accounts_of(self._account, Symbol("")), self._no_overdraft, {"cash"})
            for held in positions:
                await _open(tx, accounts_of(self._account, held.symbol), self._no_overdraft)
            for ledger, account, amount in lines:
                if amount:
                    await self._open_with(tx, self._opening_id(ledger), account, amount)
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
                await tx.execute(
                    upsert(position_changes).on_conflict_do_nothing(),
                    [self._opening_change(held) for held in positions],
                )

    def _opening_change(self, held: BrokerPosition) -> dict[str, Any]:
        nobodys = {"strategy_id": None, "quantity": str(held.quantity)}
        return {
            "id": derived_id("position_change", "opening", self._account, held.symbol),
            "account_id": self._account,
            "symbol": held.symbol,
            "after_entry": 0,
            "kind": ChangeKind.OPENING,
            "quantity": held.quantity,
            "cost": held.avg_cost,
            "shares": [nobodys],
            "effective_at": self._runtime.clock.now(),
        }

    async def ensure_activity_accounts(self, activities: Sequence[Activity]) -> None:
        """Make the accounts that these activities touch."""
        for symbol in {one.symbol for one in activities if one.symbol}:
            await self.ensure_accounts(Symbol(symbol))
        cash = cash_account(self._account)
        others = {
            other
            for one in activities
            for ledger in (CURRENCY, one.symbol)
            if ledger
            for other in (one.counterparty(self._account, ledger),)
        } - self._known
        if not activities or (not others and cash in self._known):
            return
        async with self._database.write() as tx:
            await _open(tx, {"cash": cash}, self._no_overdraft)
            if others:
                await _open(tx, {str(place): key for place, key in enumerate(sorted(others))}, {})
        self._known.update(others | {cash})

    def _opening_id(self, ledger: str) -> TransferId:
        return TransferId(derived_id("opening", self._account, ledger))

    async def _open_with(
        self, tx: WriteSession, transfer_id: TransferId, account: AccountKey, amount: Decimal
    ) -> None:
        """Move a signed amount into `account` from what was there before us."""
        other = capital_account(self._account, account.ledger)
        await _open(tx, {"other": other, "account": account}, {})
        debit, credit = (other, account) if amount > 0 else (account, other)
        if amount < 0:
            # It is so at the broker: the flag falls.
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
                code=TransferCode.OPENING,
                correlation_id=transfer_id,
                ts=self._runtime.clock.now(),
            )
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
