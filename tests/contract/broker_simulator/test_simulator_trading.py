"""Alpaca's own trading client against the simulated broker, over real sockets."""

from collections.abc import Iterator
from decimal import Decimal as D

import pytest
from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from tests.support.simulator import Simulator, start_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as running:
        running.quote("AAPL", "100.00", "100.02", 1000, 1000)
        yield running


def test_market_order_fills_at_the_ask_and_moves_cash_and_position(simulator: Simulator) -> None:
    client = simulator.trading_client()
    answer = client.submit_order(
        MarketOrderRequest(symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.DAY)
    )
    order = client.get_order_by_id(answer.id)
    assert order.status is OrderStatus.FILLED
    assert D(str(order.filled_avg_price)) == D("100.02")
    account = client.get_account()
    assert D(account.cash) == D(1_000_000) - D("1000.20")
    (position,) = client.get_all_positions()
    assert (position.symbol, D(position.qty)) == ("AAPL", D(10))


def test_limit_order_rests_and_can_be_canceled(simulator: Simulator) -> None:
    client = simulator.trading_client()
    order = client.submit_order(
        LimitOrderRequest(
            symbol="AAPL", qty=10, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=99
        )
    )
    assert client.get_order_by_id(order.id).status is OrderStatus.NEW
    client.cancel_order_by_id(order.id)
    assert client.get_order_by_id(order.id).status is OrderStatus.CANCELED
