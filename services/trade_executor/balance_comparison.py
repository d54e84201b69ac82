"""Positions and cash here and at the broker; differences without an explanation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from libs.common.domain.ledger import CURRENCY
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import OrderId, Symbol
from libs.common.kernel.money import ZERO, plain
from services.trade_executor.findings import Findings
from services.trade_executor.gate import Blocks
from services.trade_executor.lifecycle import Lifecycle
from services.trade_executor.logic import Suspects, position_differences, position_discrepancies
from services.trade_executor.metrics import DISCREPANCIES, LEDGER_IMBALANCE
from services.trade_executor.order_comparison import OrderComparison
from services.trade_executor.ports import Books, Broker, Discrepancy, OpenDiscrepancy
from services.trade_executor.resolutions import Resolutions

NAKED = "naked"
Explain = Callable[[Findings], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Balances:
    """Both sides' positions and cash, and where they differ (theirs - ours, zeros left out)."""

    ours: Mapping[Symbol, Decimal]
    theirs: Mapping[Symbol, Decimal]
    our_cash: Decimal
    their_cash: Decimal

    @property
    def positions(self) -> dict[str, Decimal]:
        """The symbols whose positions differ."""
        return position_differences(self.ours, self.theirs)

    @property
    def cash(self) -> dict[str, Decimal]:
        """The account's difference, under the account's name ''."""
        gap = self.their_cash - self.our_cash
        return {"": gap} if gap else {}

    @property
    def agree(self) -> bool:
        """Whether nothing differs."""
        return not (self.positions or self.cash)


class BalanceComparison:
    """Compares balances; what stays different opens a discrepancy, what agrees closes it."""

    def __init__(
        self,
        books: Books,
        broker: Broker,
        lifecycle: Lifecycle,
        orders: OrderComparison,
        blocks: Blocks,
        clock: Clock,
        settle_s: float,
    ) -> None:
        self._books = books
        self._broker = broker
        self._lifecycle = lifecycle
        self._orders = orders
        self._resolutions = Resolutions(books, blocks)
        self._clock = clock
        self._settle_s = settle_s
        self._suspects = Suspects(settle_s)

    async def compare(self, findings: Findings, explain: Explain) -> bool:
        """Compare positions and cash; return whether all agree.

        `explain` books what may explain a difference, before it counts as one.
        """
        balances = await self._read()
        if not balances.agree:
            await explain(findings)
            balances = await self._read()
        now_s = self._clock.monotonic_ns() / 1e9
        proven, doubt = self._suspects.judge("position", balances.positions, now_s)
        for found in position_discrepancies(sorted(proven), balances.ours, balances.theirs):
            await self._lifecycle.differs(found)
        cash_proven, cash_doubt = self._suspects.judge("cash", balances.cash, now_s)
        if cash_proven:
            ours, theirs = plain(balances.our_cash), plain(balances.their_cash)
            await self._lifecycle.differs(Discrepancy("", "cash", ours, theirs))
        findings.doubts |= doubt or cash_doubt
        imbalances = await self._books.imbalances()
        LEDGER_IMBALANCE.set(float(sum(map(abs, imbalances.values()), ZERO)))
        for ledger, amount in imbalances.items():
            await self._lifecycle.differs(
                Discrepancy(_where(ledger), "ledger_sum", plain(amount), "0", ledger)
            )
        await self._resolve(balances, {_where(ledger) for ledger in imbalances})
        return balances.agree

    async def _read(self) -> Balances:
        theirs = {held.symbol: held.quantity for held in await self._broker.positions()}
        their_cash = await self._broker.cash()
        return Balances(
            await self._books.positions(), theirs, await self._books.cash() or ZERO, their_cash
        )

    async def _resolve(self, balances: Balances, imbalanced: set[str]) -> None:
        """Close what is explained: the books agree, and the matter is a settle time old."""
        still = await self._resolutions.open()
        DISCREPANCIES.set(len(still))
        for one in still:
            # Its block was set when it was opened, or at the start. It is not set again here: a
            # person, or the protection desk, may have closed the matter since the list was read.
            old = self._clock.now() - one.opened_at >= dt.timedelta(seconds=self._settle_s)
            if old and await self._explained(one, balances, imbalanced):
                await self._resolutions.resolve(one, "our books agree with the broker's")

    async def _explained(
        self, one: OpenDiscrepancy, balances: Balances, imbalanced: set[str]
    ) -> bool:
        kind, symbol = one.found.kind, one.found.symbol
        if kind == "cash":
            return not balances.cash
        if kind == "ledger_sum":
            return symbol not in imbalanced
        if kind == NAKED:
            return False  # the protection desk closes it
        if kind == "order_missing":
            return not await self._orders.missing(OrderId(UUID(one.found.detail)))
        return symbol not in balances.positions


def _where(ledger: str) -> str:
    """Return what an imbalance blocks: its symbol, or for money the whole account."""
    return "" if ledger == CURRENCY else ledger
