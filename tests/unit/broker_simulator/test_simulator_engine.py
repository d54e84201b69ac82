"""The exchange engine: order types, times in force, reservations; numbers checked by hand."""

from datetime import date
from decimal import Decimal as D

import pytest

from libs.common.domain.vocabulary import SessionState
from services.broker_simulator.engine.account import FeeSchedule
from services.broker_simulator.engine.behaviour import Behaviour
from services.broker_simulator.engine.model import Status
from services.broker_simulator.engine.refusals import BrokerRefusal
from services.broker_simulator.engine.registry import Terms
from tests.support.exchange_world import World, ny


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("99.99", "100.01")
    return made


def test_market_buy_takes_the_ask_and_pays_for_it(world: World) -> None:
    order = world.submit("buy", "10")
    assert order.status is Status.FILLED
    assert order.filled_value == D("1000.10")
    assert world.account.cash == D("98999.90")
    assert world.position() == D(10)
    assert world.events(order) == ["new", "fill"]


def test_large_order_walks_levels_and_rests_with_what_is_left() -> None:
    world = World()
    world.quote("99.99", "100.00", ask_size=1)  # ten levels show 1 + 2 + … + 10 = 55 shares
    order = world.submit("buy", "60")
    assert order.status is Status.PARTIALLY_FILLED
    assert order.filled_qty == D(55)
    assert world.events(order)[:3] == ["new", "partial_fill", "partial_fill"]
    world.quote("99.99", "100.00", ask_size=10)
    assert order.status is Status.FILLED


def test_two_orders_do_not_take_the_same_displayed_shares() -> None:
    world = World(Terms(depth_levels=1))
    world.quote("99.99", "100.00", ask_size=100)
    first, second = world.submit("buy", "80"), world.submit("buy", "80")
    assert (first.filled_qty, second.filled_qty) == (D(80), D(20))


def test_limit_fills_at_its_own_price_when_the_market_comes_to_it(world: World) -> None:
    order = world.submit("buy", "10", type="limit", limit_price="99.50")
    assert order.status is Status.NEW
    world.quote("99.30", "99.40")
    assert order.status is Status.FILLED
    assert order.filled_value == D("995.00")


def test_marketable_limit_gets_the_better_price(world: World) -> None:
    order = world.submit("buy", "10", type="limit", limit_price=101)
    assert order.filled_value == D("1000.10")


def test_resting_limit_waits_behind_the_displayed_queue(world: World) -> None:
    world.quote("99.99", "100.01", bid_size=300)
    order = world.submit("buy", "100", type="limit", limit_price="99.99")
    world.trade("99.99", 250)
    assert order.filled_qty == 0
    world.trade("99.99", 100)  # 50 of them are still ahead
    assert order.filled_qty == D(50)
    world.trade("99.98", 100)  # a print through the limit serves everyone there
    assert order.status is Status.FILLED


def test_stop_sells_at_the_bid_once_triggered(world: World) -> None:
    world.submit("buy", "10")
    stop = world.submit("sell", "10", type="stop", stop_price="95")
    world.quote("95.01", "95.03")
    assert stop.status is Status.NEW
    world.quote("94.90", "94.95")
    assert stop.status is Status.FILLED
    assert stop.filled_value == D("949.00")


def test_stop_limit_rests_when_the_market_jumped_over_its_limit(world: World) -> None:
    world.submit("buy", "10")
    order = world.submit("sell", "10", type="stop_limit", stop_price="95", limit_price="94.50")
    world.quote("93.00", "93.05")
    assert order.triggered
    assert order.status is Status.NEW
    world.quote("94.60", "94.65")
    assert order.filled_value == D("945.00")


def test_print_triggers_a_stop_between_quotes(world: World) -> None:
    world.submit("buy", "10")
    stop = world.submit("sell", "10", type="stop", stop_price="95")
    world.trade("94.99")
    assert stop.status is Status.FILLED
    assert stop.filled_value == D("999.90")


def test_trailing_stop_follows_the_high_and_sells_below_it(world: World) -> None:
    world.submit("buy", "10")
    order = world.submit("sell", "10", type="trailing_stop", trail_price="1.50")
    world.quote("102.00", "102.02")
    assert (order.hwm, order.stop_price) == (D("102.00"), D("100.50"))
    world.quote("101.00", "101.02")
    assert order.stop_price == D("100.50")
    world.quote("100.50", "100.52")
    assert order.status is Status.FILLED
    assert order.filled_value == D("1005.00")


def test_trailing_percent_for_a_short(world: World) -> None:
    world.submit("sell", "10")
    assert world.position() == D(-10)
    order = world.submit("buy", "10", type="trailing_stop", trail_percent="2")
    world.quote("97.98", "98.00")
    assert order.stop_price == D("99.96")
    world.quote("99.97", "99.99")
    assert order.status is Status.FILLED
    assert world.position() == 0


def test_notional_buys_eight_places_and_never_spends_more(world: World) -> None:
    order = world.submit("buy", notional="500")
    assert order.status is Status.FILLED
    assert order.filled_qty == D("4.99950004")
    assert D("499.99") < order.filled_money <= D(500)


def test_fractional_shares_can_be_bought_and_sold(world: World) -> None:
    world.submit("buy", "1.5")
    world.submit("sell", "0.5")
    assert world.position() == D("1.0")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_in_force": "gtc"}, "DAY orders"),
        ({"type": "trailing_stop", "trail_price": 1}, "trailing"),
    ],
)
def test_fractional_shares_are_simple_day_orders(
    world: World, fields: dict[str, object], message: str
) -> None:
    with pytest.raises(BrokerRefusal, match=message):
        world.submit("buy", "1.5", **fields)


def test_fractions_cannot_be_sold_short(world: World) -> None:
    with pytest.raises(BrokerRefusal, match="fractional orders cannot be sold short"):
        world.submit("sell", "0.5")


def test_ioc_cancels_what_it_does_not_get() -> None:
    world = World(Terms(depth_levels=1))
    world.quote("99.99", "100.00", ask_size=40)
    order = world.submit("buy", "100", type="limit", limit_price=100, time_in_force="ioc")
    assert (order.status, order.filled_qty) == (Status.CANCELED, D(40))


def test_fok_takes_all_or_nothing() -> None:
    world = World(Terms(depth_levels=1))
    world.quote("99.99", "100.00", ask_size=40)
    nothing = world.submit("buy", "100", type="limit", limit_price=100, time_in_force="fok")
    everything = world.submit("buy", "40", type="limit", limit_price=100, time_in_force="fok")
    assert (nothing.status, nothing.filled_qty) == (Status.CANCELED, D(0))
    assert everything.status is Status.FILLED


def test_day_order_ends_at_the_close_and_gtc_does_not(world: World) -> None:
    day = world.submit("buy", "1", type="limit", limit_price=90)
    gtc = world.submit("buy", "1", type="limit", limit_price=91, time_in_force="gtc")
    world.at(ny(16), SessionState.POST)
    assert (day.status, gtc.status) == (Status.EXPIRED, Status.NEW)
    assert world.events(day) == ["new", "expired"]


def test_day_order_after_the_close_waits_for_the_next_session(world: World) -> None:
    world.at(ny(16), SessionState.POST)
    order = world.submit("buy", "5")
    assert order.status is Status.ACCEPTED
    tuesday = date(2019, 3, 5)
    world.at(ny(20), SessionState.CLOSED)
    world.at(ny(4, day=tuesday), SessionState.PRE)
    assert order.status is Status.ACCEPTED
    world.at(ny(9, 30, day=tuesday), SessionState.REGULAR)
    world.quote("101.00", "101.02")
    assert order.status is Status.FILLED
    assert world.events(order)[:2] == ["accepted", "new"]


def test_extended_hours_limit_trades_after_the_close(world: World) -> None:
    world.at(ny(16), SessionState.POST)
    world.quote("99.00", "99.10")
    order = world.submit("buy", "5", type="limit", limit_price="99.10", extended_hours=True)
    assert order.status is Status.FILLED
    rest = world.submit("buy", "5", type="limit", limit_price="98", extended_hours=True)
    world.at(ny(20), SessionState.CLOSED)
    assert rest.status is Status.EXPIRED


def test_extended_hours_market_order_is_refused(world: World) -> None:
    with pytest.raises(BrokerRefusal, match="extended hours order must be DAY or GTC limit"):
        world.submit("buy", "5", extended_hours=True)


def test_opening_auction_fills_at_the_first_print_and_cancels_the_rest(world: World) -> None:
    tuesday = date(2019, 3, 5)
    world.at(ny(16), SessionState.POST)
    world.at(ny(20), SessionState.CLOSED)
    market = world.submit("buy", "5", time_in_force="opg")
    limit = world.submit("buy", "5", type="limit", limit_price="100", time_in_force="opg")
    world.at(ny(4, day=tuesday), SessionState.PRE)
    world.at(ny(9, 30, day=tuesday), SessionState.REGULAR)
    world.trade("101.50", 1000)
    assert market.filled_value == D("507.50")
    assert limit.status is Status.CANCELED


def test_closing_auction_fills_at_the_last_print(world: World) -> None:
    order = world.submit("buy", "5", time_in_force="cls")
    world.trade("100.40")
    world.at(ny(16), SessionState.POST)
    assert order.filled_value == D("502.00")


def test_auction_orders_are_refused_in_their_window(world: World) -> None:
    with pytest.raises(BrokerRefusal, match="opg orders are not accepted"):
        world.submit("buy", "5", time_in_force="opg")
    world.at(ny(15, 50))
    with pytest.raises(BrokerRefusal, match="cls orders are not accepted"):
        world.submit("buy", "5", time_in_force="cls")


def test_open_buys_reserve_buying_power(world: World) -> None:
    world.submit("buy", "1000", type="limit", limit_price=90)
    assert world.buying_power() == D(200_000 - 90_000)
    with pytest.raises(BrokerRefusal, match="insufficient buying power") as refused:
        world.submit("buy", "1300", type="limit", limit_price=90)
    assert (refused.value.status, refused.value.code) == (403, 40310000)


def test_market_buy_holds_a_few_per_cent_above_the_ask(world: World) -> None:
    with pytest.raises(BrokerRefusal, match="insufficient buying power"):
        world.submit("buy", "1990")  # 1990 x 100.01 fits, 3 % more does not


def test_open_sells_reserve_shares(world: World) -> None:
    world.submit("buy", "10")
    world.submit("sell", "6", type="limit", limit_price=110)
    with pytest.raises(BrokerRefusal, match=r"requested: 5, available: 4") as refused:
        world.submit("sell", "5", type="limit", limit_price=111)
    assert refused.value.status == 403
    assert world.submit("sell", "4", type="limit", limit_price=111).status is Status.NEW


def test_a_position_cannot_be_flipped_by_one_order(world: World) -> None:
    world.submit("buy", "10")
    with pytest.raises(BrokerRefusal, match="insufficient qty available"):
        world.submit("sell", "20")


def test_short_sale_and_cover_realise_the_difference(world: World) -> None:
    world.submit("sell", "10")
    assert world.account.cash == D("100999.90")
    world.quote("89.99", "90.01")
    world.submit("buy", "10")
    assert world.position() == 0
    assert world.account.realized_pnl == D("99.80")
    assert world.account.cash == D("100099.80")


def test_wash_trade_is_refused(world: World) -> None:
    world.submit("buy", "10")
    world.submit("sell", "10", type="limit", limit_price=105)
    with pytest.raises(BrokerRefusal, match="potential wash trade") as refused:
        world.submit("buy", "1")
    assert refused.value.status == 403
    assert world.submit("buy", "1", type="limit", limit_price=104).status is Status.FILLED


def test_client_order_id_is_unique(world: World) -> None:
    world.submit("buy", "1", client_order_id="mine")
    with pytest.raises(BrokerRefusal, match="client_order_id must be unique"):
        world.submit("buy", "1", client_order_id="mine")


@pytest.mark.parametrize(
    ("price", "ok"), [("100.001", False), ("100.01", True), ("0.9999", True), ("0.99991", False)]
)
def test_prices_keep_the_minimum_increment(world: World, price: str, ok: bool) -> None:
    if ok:
        world.submit("buy", "1", type="limit", limit_price=price)
        return
    with pytest.raises(BrokerRefusal, match="sub-penny") as refused:
        world.submit("buy", "1", type="limit", limit_price=price)
    assert (refused.value.status, refused.value.code) == (422, 42210000)


def test_cancel_in_flight_can_still_be_filled(world: World) -> None:
    world.engine.registry.behaviour = Behaviour(cancel_delay_s=5)
    order = world.submit("buy", "10", type="limit", limit_price="99")
    world.cancel(order)
    assert order.status is Status.PENDING_CANCEL
    world.quote("98.00", "98.10")
    assert order.status is Status.FILLED
    world.at(world.now + 6_000_000_000)
    assert order.status is Status.FILLED
    assert world.events(order) == ["new", "pending_cancel", "fill", "order_cancel_rejected"]


def test_cancel_in_flight_arrives_after_its_delay(world: World) -> None:
    world.engine.registry.behaviour = Behaviour(cancel_delay_s=5)
    order = world.submit("buy", "10", type="limit", limit_price="99")
    world.cancel(order)
    world.at(world.now + 5_000_000_000)
    assert order.status is Status.CANCELED


def test_replace_makes_a_new_order_with_what_is_left(world: World) -> None:
    world.quote("99.99", "100.01", bid_size=0)
    order = world.submit("buy", "10", type="limit", limit_price="99.99")
    world.trade("99.99", 4)
    successor = world.replace(order, qty="12", limit_price="99.95")
    assert order.status is Status.REPLACED
    assert (order.replaced_by, successor.replaces) == (successor.id, order.id)
    assert (successor.qty, successor.status) == (D(8), Status.NEW)
    assert world.events(order) == ["new", "partial_fill", "pending_replace", "replaced"]


def test_replace_in_flight_loses_against_a_fill(world: World) -> None:
    world.engine.registry.behaviour = Behaviour(replace_delay_s=5)
    order = world.submit("buy", "10", type="limit", limit_price="99")
    successor = world.replace(order, limit_price="98.50")
    with pytest.raises(BrokerRefusal, match="pending_replace"):
        world.replace(order, limit_price="98")
    world.quote("98.90", "98.95")
    world.at(world.now + 6_000_000_000)
    assert (order.status, successor.status) == (Status.FILLED, Status.REJECTED)
    assert world.events(order)[-2:] == ["fill", "order_replace_rejected"]


def test_replace_to_less_than_filled_is_refused(world: World) -> None:
    world.quote("99.99", "100.01", bid_size=0)
    order = world.submit("buy", "10", type="limit", limit_price="99.99")
    world.trade("99.99", 4)
    with pytest.raises(BrokerRefusal, match="qty must be > filled_qty"):
        world.replace(order, qty="4")


def test_halted_symbol_takes_orders_but_does_not_trade(world: World) -> None:
    world.engine.halt("AAPL", True, world.now)
    order = world.submit("buy", "10")
    world.quote("99.99", "100.01")
    assert order.status is Status.NEW
    world.engine.halt("AAPL", False, world.now)
    world.quote("99.99", "100.01")
    assert order.status is Status.FILLED


def test_rejected_after_accept_is_announced(world: World) -> None:
    world.engine.registry.behaviour = Behaviour(reject_probability=1)
    order = world.submit("buy", "10")
    assert order.status is Status.REJECTED
    assert world.events(order) == ["rejected"]


def test_partial_fill_switch_leaves_the_rest_for_the_next_quote(world: World) -> None:
    world.engine.registry.behaviour = Behaviour(
        partial_fill_probability=1, partial_fill_fraction=0.3
    )
    order = world.submit("buy", "10")
    assert (order.status, order.filled_qty) == (Status.PARTIALLY_FILLED, D(3))
    world.quote("100.00", "100.02")
    assert order.status is Status.FILLED


def test_fees_are_taken_from_sales_and_rounded_up_to_the_cent() -> None:
    fees = FeeSchedule(sec_rate=D("0.0000278"), taf_per_share=D("0.000166"), taf_max=D("8.30"))
    world = World(Terms(fees=fees))
    world.quote("100.00", "100.02")
    world.submit("buy", "100")
    world.submit("sell", "100")
    # 10 000 x 0.0000278 = 0.278 → 0.28 and 100 x 0.000166 = 0.0166 → 0.02
    assert world.account.fees_paid == D("0.30")
    assert world.account.cash == D(100_000) - D("10002.00") + D("10000.00") - D("0.30")


def test_split_adjusts_holding_and_resting_stop(world: World) -> None:
    world.submit("buy", "100")
    stop = world.submit("sell", "100", type="stop", stop_price="64.00", time_in_force="gtc")
    world.engine.split("AAPL", D(7), world.now)
    assert world.position() == D(700)
    assert (stop.qty, stop.stop_price) == (D(700), D("9.14"))


def test_dividend_pays_holders(world: World) -> None:
    world.submit("buy", "100")
    before = world.account.cash
    world.engine.pay_dividend("AAPL", D("0.82"), world.now)
    assert world.account.cash - before == D("82.00")
    assert world.engine.registry.activities[-1].activity_type == "DIV"


def test_notional_sale_ends_with_the_position_when_the_price_fell(world: World) -> None:
    world.submit("buy", "10")
    world.engine.halt("AAPL", True, world.now)
    order = world.submit("sell", notional="999")  # 9.99 shares at 100.00
    with pytest.raises(BrokerRefusal, match="insufficient qty available"):
        world.submit("sell", "1")
    world.engine.halt("AAPL", False, world.now)
    world.quote("50.00", "50.02")
    assert order.status is Status.FILLED
    assert (order.filled_qty, world.position()) == (D(10), D(0))


def test_notional_buy_is_complete_when_less_than_a_cent_is_left() -> None:
    world = World(Terms(depth_levels=1))
    world.quote("99.99", "100.01", ask_size=4)
    order = world.submit("buy", notional="500")
    assert order.status is Status.PARTIALLY_FILLED
    world.quote("6666.65", "6666.67", ask_size=100)
    assert order.status is Status.FILLED
    assert D("499.99") < order.filled_money <= D(500)
