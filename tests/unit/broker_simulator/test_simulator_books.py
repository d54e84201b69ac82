"""The books under random trading: money and shares are the sum of the executions, always."""

from decimal import Decimal as D

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.money import money
from services.broker_simulator.engine.model import TERMINAL, Order
from services.broker_simulator.engine.refusals import BrokerRefusal
from services.broker_simulator.engine.registry import Terms
from tests.support.exchange_world import World

QUANTITIES = st.integers(1, 200)
PRICES = st.integers(9000, 11000).map(lambda cents: str(D(cents) / 100))


class Trading(RuleBasedStateMachine):
    """Random orders, cancels, replaces, quotes and prints on one account."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Terms(depth_levels=3), cash="50000")
        self.world.quote("99.99", "100.01")
        self.orders: list[Order] = []
        self.refused: set[int] = set()

    def _submit(self, side: str, qty: int, **fields: object) -> None:
        try:
            self.orders.append(self.world.submit(side, str(qty), **fields))
        except BrokerRefusal as refusal:
            self.refused.add(refusal.status)

    @rule(side=st.sampled_from(["buy", "sell"]), qty=QUANTITIES)
    def market(self, side: str, qty: int) -> None:
        self._submit(side, qty)

    @rule(side=st.sampled_from(["buy", "sell"]), qty=QUANTITIES, price=PRICES)
    def limit(self, side: str, qty: int, price: str) -> None:
        self._submit(side, qty, type="limit", limit_price=price)

    @rule(side=st.sampled_from(["buy", "sell"]), qty=QUANTITIES, price=PRICES)
    def stop(self, side: str, qty: int, price: str) -> None:
        self._submit(side, qty, type="stop", stop_price=price)

    @rule(qty=QUANTITIES, profit=PRICES, loss=PRICES)
    def bracket(self, qty: int, profit: str, loss: str) -> None:
        self._submit(
            "buy",
            qty,
            order_class="bracket",
            take_profit={"limit_price": profit},
            stop_loss={"stop_price": loss},
        )

    @rule(index=st.integers(0, 30))
    def cancel(self, index: int) -> None:
        if index < len(self.orders):
            try:
                self.world.cancel(self.orders[index])
            except BrokerRefusal as refusal:
                self.refused.add(refusal.status)

    @rule(index=st.integers(0, 30), qty=QUANTITIES, price=PRICES)
    def replace(self, index: int, qty: int, price: str) -> None:
        if index < len(self.orders):
            try:
                successor = self.world.replace(self.orders[index], qty=str(qty), limit_price=price)
                self.orders.append(successor)
            except BrokerRefusal as refusal:
                self.refused.add(refusal.status)

    @rule(cents=st.integers(9000, 11000), spread=st.integers(1, 5), size=st.integers(1, 300))
    def quote(self, cents: int, spread: int, size: int) -> None:
        bid, ask = D(cents) / 100, D(cents + spread) / 100
        self.world.quote(str(bid), str(ask), bid_size=size, ask_size=size)

    @rule(price=PRICES, size=st.integers(1, 500))
    def trade(self, price: str, size: int) -> None:
        self.world.trade(price, size)

    @rule(open_again=st.booleans())
    def close_the_day(self, open_again: bool) -> None:
        self.world.at(self.world.now, SessionState.POST)
        self.world.at(self.world.now, SessionState.REGULAR)

    @invariant()
    def refusals_are_of_the_known_kinds(self) -> None:
        assert self.refused <= {403, 422}

    @invariant()
    def cash_is_the_sum_of_executions(self) -> None:
        fills = self.world.engine.registry.executions
        spent = sum((fill.side.sign * fill.money for fill in fills), D(0))
        assert self.world.account.cash == D(50_000) - spent
        assert all(fill.money == money(fill.qty * fill.price) for fill in fills)

    @invariant()
    def position_is_the_sum_of_executions(self) -> None:
        fills = self.world.engine.registry.executions
        held = sum((fill.side.sign * fill.qty for fill in fills), D(0))
        assert self.world.position() == held

    @invariant()
    def equity_is_opening_cash_and_profit(self) -> None:
        registry = self.world.engine.registry
        open_profit = sum(
            (
                money(p.qty * registry.mark(s)) - p.cost
                for s, p in self.world.account.positions.items()
            ),
            D(0),
        )
        equity = registry.valuation(self.world.account).equity
        assert equity == D(50_000) + self.world.account.realized_pnl + open_profit

    @invariant()
    def orders_agree_with_their_executions(self) -> None:
        registry = self.world.engine.registry
        by_order: dict[str, D] = {}
        for fill in registry.executions:
            by_order[fill.order_id] = by_order.get(fill.order_id, D(0)) + fill.qty
        for order in registry.orders.values():
            assert order.filled_qty == by_order.get(order.id, D(0))
            assert order.qty is None or order.filled_qty <= order.qty
            assert (order.id in registry.books["AAPL"].orders) == (order.status not in TERMINAL)


TestTrading = Trading.TestCase
TestTrading.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
