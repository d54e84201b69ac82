"""Brackets, OCO and OTO: legs held, released, cancelled, shrunk."""

from decimal import Decimal as D

import pytest

from libs.common.domain.vocabulary import SessionState
from services.broker_simulator.engine.behaviour import Behaviour
from services.broker_simulator.engine.model import Order, Status
from services.broker_simulator.engine.refusals import BrokerRefusal
from services.broker_simulator.engine.registry import Terms
from tests.support.exchange_world import World, ny


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("99.99", "100.01")
    return made


def bracket(world: World, qty: str = "10", **fields: object) -> tuple[Order, Order, Order]:
    entry = world.submit(
        "buy",
        qty,
        order_class="bracket",
        take_profit={"limit_price": 110},
        stop_loss={"stop_price": 95},
        **fields,
    )
    profit, stop = world.legs(entry)
    return entry, profit, stop


def test_legs_are_held_until_the_entry_is_completely_filled() -> None:
    world = World(Terms(depth_levels=1))
    world.quote("99.99", "100.01", ask_size=4)
    entry, profit, stop = bracket(world)
    assert entry.filled_qty == D(4)
    assert (profit.status, stop.status) == (Status.HELD, Status.HELD)
    world.quote("99.99", "100.01", ask_size=100)
    assert entry.status is Status.FILLED
    assert (profit.status, stop.status) == (Status.NEW, Status.NEW)


def test_take_profit_cancels_the_stop(world: World) -> None:
    _, profit, stop = bracket(world)
    world.quote("110.10", "110.12")
    assert (profit.status, stop.status) == (Status.FILLED, Status.CANCELED)
    assert world.position() == 0


def test_stop_cancels_the_take_profit(world: World) -> None:
    _, profit, stop = bracket(world)
    world.quote("94.00", "94.05")
    assert (profit.status, stop.status) == (Status.CANCELED, Status.FILLED)
    assert world.position() == 0


def test_partial_take_profit_shrinks_the_stop(world: World) -> None:
    _, profit, stop = bracket(world)
    world.trade("110.50", 3)
    assert (profit.filled_qty, stop.qty) == (D(3), D(7))
    assert "restated" in world.events(stop)
    world.quote("94.00", "94.05")
    assert stop.status is Status.FILLED
    assert world.position() == 0


def test_exits_of_one_group_reserve_the_shares_once(world: World) -> None:
    bracket(world)
    with pytest.raises(BrokerRefusal, match="available: 0"):
        world.submit("sell", "1", type="limit", limit_price=120)


def test_cancelling_the_entry_cancels_the_held_legs(world: World) -> None:
    entry, profit, stop = bracket(world, type="limit", limit_price=99)
    world.cancel(entry)
    assert {entry.status, profit.status, stop.status} == {Status.CANCELED}


def test_cancelling_one_exit_cancels_the_other(world: World) -> None:
    _, profit, stop = bracket(world)
    world.cancel(stop)
    assert (profit.status, stop.status) == (Status.CANCELED, Status.CANCELED)
    assert world.position() == D(10)


def test_day_exits_end_at_the_close_and_leave_the_position(world: World) -> None:
    _, profit, stop = bracket(world)
    world.at(ny(16), SessionState.POST)
    ended = {profit.status, stop.status}
    assert ended <= {Status.EXPIRED, Status.CANCELED}
    assert Status.EXPIRED in ended
    assert world.position() == D(10)


def test_both_exits_fill_when_the_exchange_leaks(world: World) -> None:
    world.engine.registry.behaviour = Behaviour(oco_leak=True)
    _, profit, stop = bracket(world)
    world.quote("110.10", "110.12")
    world.quote("94.00", "94.05")
    assert (profit.status, stop.status) == (Status.FILLED, Status.FILLED)
    assert world.position() == D(-10)
    # sold 10 at 110.00 (cost 1000.10) and 10 more at 94.00, now short
    assert world.account.realized_pnl == D("99.90")
    assert world.account.positions["AAPL"].cost == D("-940.00")


def test_oco_needs_a_position_and_its_legs_exclude_each_other(world: World) -> None:
    fields = {
        "type": "limit",
        "order_class": "oco",
        "take_profit": {"limit_price": 110},
        "stop_loss": {"stop_price": 95, "limit_price": 94.5},
    }
    with pytest.raises(BrokerRefusal, match="oco orders must be exit orders"):
        world.submit("sell", "10", **fields)
    world.submit("buy", "10")
    profit = world.submit("sell", "10", **fields)
    (stop,) = world.legs(profit)
    assert (profit.limit_price, profit.status, stop.status) == (D(110), Status.NEW, Status.NEW)
    world.quote("94.80", "94.90")
    assert (profit.status, stop.status) == (Status.CANCELED, Status.FILLED)


def test_oto_brings_one_exit(world: World) -> None:
    entry = world.submit("buy", "10", order_class="oto", stop_loss={"stop_price": 95})
    (stop,) = world.legs(entry)
    assert (entry.status, stop.status) == (Status.FILLED, Status.NEW)


def test_short_bracket_buys_back(world: World) -> None:
    entry = world.submit(
        "sell",
        "10",
        order_class="bracket",
        take_profit={"limit_price": 90},
        stop_loss={"stop_price": 105},
    )
    profit, stop = world.legs(entry)
    world.quote("104.99", "105.05")
    assert (profit.status, stop.status) == (Status.CANCELED, Status.FILLED)
    assert world.position() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"take_profit": {"limit_price": 94}}, "must be > stop_loss.stop_price"),
        ({"time_in_force": "ioc"}, "must be DAY or GTC"),
        ({"stop_loss": None}, "require take_profit"),
        ({"type": "limit", "limit_price": 95}, "stop_loss.stop_price must be"),
        ({"type": "limit", "limit_price": 120}, "take_profit.limit_price must be"),
        ({"stop_loss": {"stop_price": 95, "limit_price": 96}}, "must not be better"),
    ],
)
def test_bracket_rules(world: World, fields: dict[str, object], message: str) -> None:
    body = {
        "order_class": "bracket",
        "take_profit": {"limit_price": 110},
        "stop_loss": {"stop_price": 95},
        **fields,
    }
    with pytest.raises(BrokerRefusal, match=message) as refused:
        world.submit("buy", "10", **body)
    assert refused.value.status == 422


def test_replaced_stop_keeps_its_place_in_the_group(world: World) -> None:
    entry, profit, stop = bracket(world)
    moved = world.replace(stop, stop_price="97")
    assert [leg.id for leg in world.legs(entry)] == [profit.id, moved.id]
    world.quote("96.90", "96.95")
    assert (profit.status, moved.status) == (Status.CANCELED, Status.FILLED)


def test_replaced_entry_takes_its_held_legs_along(world: World) -> None:
    entry, profit, stop = bracket(world, type="limit", limit_price=99)
    moved = world.replace(entry, limit_price="99.50")
    assert [leg.id for leg in world.legs(moved)] == [profit.id, stop.id]
    world.quote("99.30", "99.40")
    assert moved.status is Status.FILLED
    assert (profit.status, stop.status) == (Status.NEW, Status.NEW)


def test_split_reaches_a_resting_bracket(world: World) -> None:
    _, profit, stop = bracket(world)
    world.engine.split("AAPL", D(2), world.now)
    assert (profit.qty, profit.limit_price) == (D(20), D("55.00"))
    assert (stop.qty, stop.stop_price) == (D(20), D("47.50"))
    world.quote("47.00", "47.02")
    assert world.position() == 0
