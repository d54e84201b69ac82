"""Every REST path that Alpaca's TradingClient uses, with its own types."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal as D
from typing import Any

import httpx
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.enums import (
    AssetClass,
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.requests import (
    ClosePositionRequest,
    CreateWatchlistRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    GetPortfolioHistoryRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
    UpdateWatchlistRequest,
)

from tests.support.simulator import Simulator, start_simulator

BUY, SELL, DAY, GTC = OrderSide.BUY, OrderSide.SELL, TimeInForce.DAY, TimeInForce.GTC


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as started:
        started.quote("AAPL", "100.00", "100.02")
        started.quote("KO", "50.00", "50.02")
        yield started


def aapl(side: OrderSide = BUY, **fields: Any) -> dict[str, Any]:
    return {"symbol": "AAPL", "qty": 10, "side": side, "time_in_force": DAY, **fields}


def test_every_order_type_is_taken(simulator: Simulator) -> None:
    client = simulator.trading_client()
    client.submit_order(MarketOrderRequest(**aapl()))
    stop = client.submit_order(StopOrderRequest(**aapl(SELL, qty=2, stop_price=95)))
    stop_limit = client.submit_order(
        StopLimitOrderRequest(**aapl(SELL, qty=2, stop_price=95, limit_price=94.5))
    )
    trailing = client.submit_order(
        TrailingStopOrderRequest(**aapl(SELL, qty=2, trail_percent=1.5, time_in_force=GTC))
    )
    limit = client.submit_order(LimitOrderRequest(**aapl(SELL, qty=2, limit_price=120)))
    kinds = [client.get_order_by_id(o.id).type for o in (stop, stop_limit, trailing, limit)]
    assert kinds == [
        OrderType.STOP,
        OrderType.STOP_LIMIT,
        OrderType.TRAILING_STOP,
        OrderType.LIMIT,
    ]
    assert client.get_order_by_id(trailing.id).hwm == "100"


def test_notional_and_fractional_orders(simulator: Simulator) -> None:
    client = simulator.trading_client()
    order = client.submit_order(
        MarketOrderRequest(symbol="AAPL", notional=250, side=BUY, time_in_force=DAY)
    )
    done = client.get_order_by_id(order.id)
    assert (done.status, done.notional, done.qty) == (OrderStatus.FILLED, "250", None)
    assert done.filled_qty == "2.49950009"
    half = client.submit_order(MarketOrderRequest(**aapl(qty=0.5)))
    assert client.get_order_by_id(half.id).filled_qty == "0.5"


def test_bracket_shows_its_legs(simulator: Simulator) -> None:
    client = simulator.trading_client()
    entry = client.submit_order(
        MarketOrderRequest(
            **aapl(),
            order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=110),
            stop_loss=StopLossRequest(stop_price=95, limit_price=94.5),
        )
    )
    assert entry.legs is not None
    assert [leg.status for leg in entry.legs] == [OrderStatus.HELD, OrderStatus.HELD]
    nested = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True))
    assert [(o.order_class, len(o.legs or [])) for o in nested] == [(OrderClass.BRACKET, 2)]
    flat = client.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=False))
    assert len(flat) == 3
    simulator.quote("AAPL", "110.50", "110.52")
    found = client.get_order_by_id(entry.id, GetOrderByIdRequest(nested=True))
    assert [leg.status for leg in found.legs or []] == [OrderStatus.FILLED, OrderStatus.CANCELED]


def test_oco_and_oto_are_taken_as_the_client_sends_them(simulator: Simulator) -> None:
    client = simulator.trading_client()
    client.submit_order(
        MarketOrderRequest(
            **aapl(), order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=90)
        )
    )
    client.cancel_orders()
    oco = client.submit_order(
        LimitOrderRequest(
            **aapl(SELL, time_in_force=GTC),
            order_class=OrderClass.OCO,
            take_profit=TakeProfitRequest(limit_price=110),
            stop_loss=StopLossRequest(stop_price=95),
        )
    )
    assert (oco.limit_price, len(oco.legs or [])) == ("110", 1)


def test_orders_are_listed_with_filters(simulator: Simulator) -> None:
    client = simulator.trading_client()
    for price in (90, 91, 92):
        client.submit_order(LimitOrderRequest(**aapl(limit_price=price)))
        simulator.step(1)
    client.submit_order(
        LimitOrderRequest(symbol="KO", qty=1, side=BUY, time_in_force=DAY, limit_price=45)
    )
    newest = client.get_orders(GetOrdersRequest(limit=2))
    assert [o.limit_price for o in newest] == ["45", "92"]
    oldest = client.get_orders(GetOrdersRequest(symbols=["AAPL"], direction="asc"))
    assert [o.limit_price for o in oldest] == ["90", "91", "92"]
    later = client.get_orders(GetOrdersRequest(after=oldest[0].submitted_at, direction="asc"))
    assert [o.limit_price for o in later] == ["91", "92", "45"]
    assert client.get_orders(GetOrdersRequest(side=SELL)) == []
    assert client.get_orders(GetOrdersRequest(status=QueryOrderStatus.CLOSED)) == []


def test_order_is_found_by_client_id_and_404_where_it_is_not(simulator: Simulator) -> None:
    client = simulator.trading_client()
    order = client.submit_order(LimitOrderRequest(**aapl(limit_price=90, client_order_id="a-1")))
    assert client.get_order_by_client_id("a-1").id == order.id
    with pytest.raises(APIError) as missing:
        client.get_order_by_client_id("a-2")
    assert (missing.value.status_code, missing.value.code) == (404, 40410000)


def test_replace_and_cancel(simulator: Simulator) -> None:
    client = simulator.trading_client()
    order = client.submit_order(LimitOrderRequest(**aapl(limit_price=90)))
    new = client.replace_order_by_id(order.id, ReplaceOrderRequest(qty=5, limit_price=91))
    assert client.get_order_by_id(order.id).status is OrderStatus.REPLACED
    found = client.get_order_by_id(new.id)
    assert (found.status, found.qty, found.limit_price) == (OrderStatus.NEW, "5", "91")
    (answer,) = client.cancel_orders()
    assert (answer.id, answer.status) == (new.id, 200)
    with pytest.raises(APIError) as done:
        client.cancel_order_by_id(new.id)
    assert done.value.status_code == 422


def test_positions_are_valued_and_closed(simulator: Simulator) -> None:
    client = simulator.trading_client()
    client.submit_order(MarketOrderRequest(**aapl()))
    client.submit_order(MarketOrderRequest(symbol="KO", qty=4, side=SELL, time_in_force=DAY))
    simulator.trade("AAPL", "110.00")
    long, short = client.get_all_positions()
    assert (long.side, short.side) == (PositionSide.LONG, PositionSide.SHORT)
    assert (D(long.market_value), D(long.unrealized_pl)) == (D(1100), D("99.80"))
    assert (short.qty, short.cost_basis) == ("-4", "-200")
    by_id = client.get_open_position(long.asset_id)
    assert by_id.symbol == "AAPL"
    part = client.close_position("AAPL", ClosePositionRequest(percentage="50"))
    assert (part.side, part.qty) == (SELL, "5")
    answers = client.close_all_positions(cancel_orders=True)
    assert [(a.symbol, a.status) for a in answers] == [("AAPL", 200), ("KO", 200)]
    assert client.get_all_positions() == []
    with pytest.raises(APIError) as none:
        client.get_open_position("AAPL")
    assert none.value.status_code == 404


def test_closing_while_a_stop_rests_is_refused(simulator: Simulator) -> None:
    client = simulator.trading_client()
    client.submit_order(MarketOrderRequest(**aapl()))
    client.submit_order(StopOrderRequest(**aapl(SELL, stop_price=90)))
    with pytest.raises(APIError) as refused:
        client.close_position("AAPL")
    assert (refused.value.status_code, refused.value.code) == (403, 40310000)


def test_account_values(simulator: Simulator) -> None:
    client = simulator.trading_client()
    client.submit_order(MarketOrderRequest(**aapl(qty=100)))
    simulator.trade("AAPL", "101.00")
    account = client.get_account()
    assert D(account.cash) == D("989998.00")
    assert D(account.equity) == D("1000098.00")
    assert D(account.long_market_value) == D(10100)
    assert D(account.buying_power) == 2 * D("1000098.00") - D(10100)
    assert account.shorting_enabled is True


def test_account_configuration_is_kept(simulator: Simulator) -> None:
    client = simulator.trading_client()
    configuration = client.get_account_configurations()
    configuration.no_shorting = True
    assert client.set_account_configurations(configuration).no_shorting is True
    with pytest.raises(APIError) as refused:
        client.submit_order(MarketOrderRequest(**aapl(SELL)))
    assert refused.value.status_code == 403


def test_activities_carry_the_executions(simulator: Simulator) -> None:
    simulator.submit("AAPL", "buy", "10")
    simulator.step(1)
    simulator.submit("AAPL", "sell", "4")
    fills = simulator.get("/v2/account/activities/FILL")
    assert [(f["side"], f["qty"], f["price"]) for f in fills] == [
        ("sell", "4", "100"),
        ("buy", "10", "100.02"),
    ]
    truth = [e["execution_id"] for e in simulator.ledger()["executions"]]
    assert [f["id"].split("::")[1] for f in reversed(fills)] == truth
    page = simulator.get("/v2/account/activities", page_size=1)
    rest = simulator.get("/v2/account/activities", page_token=page[0]["id"])
    assert [f["id"] for f in page + rest] == [f["id"] for f in fills]
    later = simulator.get("/v2/account/activities", after=fills[1]["transaction_time"])
    assert [f["id"] for f in later] == [fills[0]["id"]]
    on_the_day = simulator.get("/v2/account/activities/FILL", date="2019-03-04", direction="asc")
    assert [f["id"] for f in on_the_day] == [f["id"] for f in reversed(fills)]
    assert simulator.get("/v2/account/activities/FILL", date="2019-03-05") == []


def test_assets_clock_and_calendar(simulator: Simulator) -> None:
    client = simulator.trading_client()
    assets = client.get_all_assets(GetAssetsRequest(asset_class=AssetClass.US_EQUITY))
    assert [asset.symbol for asset in assets] == ["AAPL", "KO", "MSFT"]
    assert client.get_asset("AAPL").id == client.get_asset(str(assets[0].id)).id
    with pytest.raises(APIError) as missing:
        client.get_asset("NOPE")
    assert missing.value.status_code == 404
    clock = client.get_clock()
    assert clock.is_open
    assert clock.next_close.isoformat() == "2019-03-04T21:00:00+00:00"
    days = client.get_calendar(GetCalendarRequest(start=date(2019, 7, 3), end=date(2019, 7, 5)))
    assert [(d.date.day, d.close.hour) for d in days] == [(3, 13), (5, 16)]


def test_portfolio_history_has_each_close(simulator: Simulator) -> None:
    client = simulator.trading_client()
    simulator.submit("AAPL", "buy", "100")
    simulator.trade("AAPL", "101.00")
    simulator.step_to("next_close")
    history = client.get_portfolio_history(GetPortfolioHistoryRequest(period="1M"))
    assert history.equity[0] == 1_000_098
    assert history.base_value == 1_000_000


def test_watchlists(simulator: Simulator) -> None:
    client = simulator.trading_client()
    made = client.create_watchlist(CreateWatchlistRequest(name="mine", symbols=["AAPL"]))
    client.add_asset_to_watchlist_by_id(made.id, "KO")
    client.remove_asset_from_watchlist_by_id(made.id, "AAPL")
    client.update_watchlist_by_id(made.id, UpdateWatchlistRequest(name="ours"))
    found = client.get_watchlist_by_id(made.id)
    assert (found.name, [a.symbol for a in found.assets or []]) == ("ours", ["KO"])
    assert [w.name for w in client.get_watchlists()] == ["ours"]
    client.delete_watchlist_by_id(made.id)
    assert client.get_watchlists() == []


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"symbol":"AAPL","frobnicate":1}', 400, "unknown field 'frobnicate'"),
        (b'{"qty":"1"}', 422, "symbol is required"),
        (b'{"symbol":"NOPE","qty":1,"side":"buy","type":"market","time_in_force":"day"}', 422,
         "not found"),
        (b'{"symbol":"AAPL","qty":-1,"side":"buy","type":"market","time_in_force":"day"}', 422,
         "qty must be > 0"),
        (b'{"symbol":"AAPL","qty":"NaN","side":"buy","type":"market","time_in_force":"day"}', 422,
         "not finite"),
        (b'{"symbol":"AAPL","qty":1e30,"side":"buy","type":"market","time_in_force":"day"}', 422,
         "too large"),
        (b'{"symbol":"AAPL","qty":1,"side":"hold","type":"market","time_in_force":"day"}', 422,
         "invalid side"),
        (b'{"symbol":"AAPL","qty":1,"side":"buy","type":"limit","time_in_force":"day"}', 422,
         "limit_price"),
        (b'{"symbol":"AAPL","qty":true,"side":"buy","type":"market","time_in_force":"day"}', 422,
         "qty"),
    ],
)  # fmt: skip
def test_malformed_orders_are_refused_by_name(
    simulator: Simulator, body: bytes, status: int, message: str
) -> None:
    answer = simulator.request("POST", "/v2/orders", content=body)
    assert answer.status_code == status
    assert message in answer.json()["message"]
    assert isinstance(answer.json()["code"], int)


def test_wrong_keys_are_refused(simulator: Simulator) -> None:
    answer = simulator.request("GET", "/v2/account", headers={"APCA-API-SECRET-KEY": "no"})
    assert (answer.status_code, answer.json()["code"]) == (401, 40110000)


def test_oversized_body_is_refused(simulator: Simulator) -> None:
    answer = simulator.request("POST", "/v2/orders", content=b"x" * 2_000_000)
    assert answer.status_code == 413


def test_unknown_path_is_a_json_404(simulator: Simulator) -> None:
    answer = simulator.request("GET", "/v2/frobnicate")
    assert (answer.status_code, answer.json()["code"]) == (404, 40410000)


def test_it_says_that_it_is_ready_and_so_does_its_gauge(simulator: Simulator) -> None:
    answer = httpx.get(f"{simulator.url}/ready")
    assert (answer.status_code, answer.json()["reasons"]) == (200, {})
    assert "service_ready 1.0" in httpx.get(f"{simulator.url}/metrics").text.splitlines()
