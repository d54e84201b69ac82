"""Busts, corrections and splits: the books are as if only what stands had happened."""

from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine import amendments
from services.broker_simulator.engine.account import FeeSchedule, apply_execution
from services.broker_simulator.engine.model import Execution, Status
from services.broker_simulator.engine.registry import Terms
from tests.support.exchange_world import World


@pytest.fixture
def world() -> World:
    made = World()
    made.quote("99.99", "100.00")
    return made


def last(world: World) -> Execution:
    return world.engine.registry.executions[-1]


def test_bust_gives_the_money_back_and_takes_the_shares() -> None:
    fees = FeeSchedule(commission_per_share=D("0.01"))
    world = World(Terms(fees=fees))
    world.quote("99.99", "100.00")
    order = world.submit("buy", "10")
    assert world.account.cash == D(100_000) - D("1000.10")
    record = amendments.bust(world.engine.registry, last(world).id, world.now)
    assert (world.account.cash, world.position()) == (D(100_000), D(0))
    assert world.account.fees_paid == D(0)
    assert (order.status, order.filled_qty) == (Status.FILLED, D(0))
    assert record.previous == world.engine.registry.executions[0].id
    assert world.engine.registry.executions[0].ended_by == record.id


def test_bust_of_a_purchase_already_sold_leaves_a_short(world: World) -> None:
    world.submit("buy", "10")
    bought = last(world)
    world.submit("sell", "10")
    amendments.bust(world.engine.registry, bought.id, world.now)
    assert world.position() == D(-10)
    assert world.account.positions["AAPL"].cost == D("-999.90")
    assert world.account.realized_pnl == D(0)


def test_bust_of_one_of_two_fills_leaves_the_other_ones_cost(world: World) -> None:
    world.submit("buy", "10")
    world.quote("199.99", "200.00")
    world.submit("buy", "10")
    amendments.bust(world.engine.registry, last(world).id, world.now)
    position = world.account.positions["AAPL"]
    assert (position.qty, position.cost) == (D(10), D("1000.00"))


def test_open_order_has_busted_shares_to_fill_again(world: World) -> None:
    world.quote("99.99", "100.00", ask_size=4)
    order = world.submit("buy", "10", type="limit", limit_price="100.00")
    assert order.filled_qty == D(4)
    amendments.bust(world.engine.registry, last(world).id, world.now)
    assert (order.filled_qty, order.remaining) == (D(0), D(10))


def test_correction_puts_another_price_in_the_place(world: World) -> None:
    order = world.submit("buy", "10")
    world.submit("sell", "4")
    first = world.engine.registry.executions[0]
    record = amendments.correct(world.engine.registry, first.id, None, D("90.00"), world.now)
    # bought 10 for 900.00, sold 4 of them for 399.96: cost out 360.00
    assert world.account.cash == D(100_000) - D("900.00") + D("399.96")
    assert world.account.realized_pnl == D("39.96")
    position = world.account.positions["AAPL"]
    assert (position.qty, position.cost) == (D(6), D("540.00"))
    assert (order.filled_qty, order.filled_value) == (D(10), D("900.00"))
    assert (record.price, record.previous) == (D("90.00"), first.id)


def test_correction_of_the_quantity_and_then_its_bust(world: World) -> None:
    world.submit("buy", "10")
    first = amendments.correct(world.engine.registry, last(world).id, D(7), None, world.now)
    assert (world.position(), world.account.cash) == (D(7), D(100_000) - D(700))
    amendments.bust(world.engine.registry, first.id, world.now)
    assert (world.position(), world.account.cash) == (D(0), D(100_000))


def test_what_was_amended_cannot_be_amended_again(world: World) -> None:
    world.submit("buy", "10")
    registry, execution = world.engine.registry, last(world)
    amendments.bust(registry, execution.id, world.now)
    with pytest.raises(InvalidInputError, match="was amended by"):
        amendments.bust(registry, execution.id, world.now)
    with pytest.raises(InvalidInputError, match="was amended by"):
        amendments.correct(registry, execution.id, None, D("1.00"), world.now)


def test_amendments_that_make_no_sense_are_refused(world: World) -> None:
    world.submit("buy", "10")
    registry, execution = world.engine.registry, last(world)
    with pytest.raises(InvalidInputError, match="is not known"):
        amendments.bust(registry, "nothing", world.now)
    with pytest.raises(InvalidInputError, match="changes nothing"):
        amendments.correct(registry, execution.id, None, None, world.now)
    with pytest.raises(InvalidInputError, match="more than was ordered"):
        amendments.correct(registry, execution.id, D(11), None, world.now)
    world.engine.split("AAPL", D(2), world.now)
    with pytest.raises(InvalidInputError, match="older than a split"):
        amendments.bust(registry, execution.id, world.now)


def test_bust_after_a_split_keeps_what_the_split_made(world: World) -> None:
    world.submit("buy", "10")
    world.now += 1
    world.engine.split("AAPL", D(2), world.now)
    world.now += 1
    world.submit("buy", "10")
    amendments.bust(world.engine.registry, last(world).id, world.now)
    position = world.account.positions["AAPL"]
    assert (position.qty, position.cost) == (D(20), D("1000.00"))


def test_reverse_split_pays_the_fraction_in_cash(world: World) -> None:
    world.submit("buy", "105")
    cash = world.account.cash
    world.engine.split("AAPL", D("0.1"), world.now)
    # 10.5 shares, the half paid at 1000.00 (the last print is none, so the middle 999.95)
    position = world.account.positions["AAPL"]
    assert position.qty == D(10)
    rows = [(a.activity_type, a.sub_type, a.qty) for a in world.engine.registry.activities]
    assert rows == [
        ("SPLIT", "RSPLIT", D(-105)),
        ("SPLIT", "RSPLIT", D("10.5")),
        ("CIL", None, D("-0.5")),
    ]
    paid = world.engine.registry.activities[-1].net_amount
    assert world.account.cash - cash == paid == D("499.9750")
    assert position.cost == D("10000.0000")


def test_reverse_split_ends_orders_of_which_nothing_is_left(world: World) -> None:
    world.submit("buy", "9")
    stop = world.submit("sell", "9", type="stop", stop_price="64.00", time_in_force="gtc")
    world.engine.split("AAPL", D("0.1"), world.now)
    world.at(world.now)
    assert (stop.status, world.position()) == (Status.CANCELED, D(0))
    assert world.updates[-1].reason == "CORPORATE_ACTION"


def test_split_may_cancel_resting_orders(world: World) -> None:
    world.submit("buy", "10")
    stop = world.submit("sell", "10", type="stop", stop_price="64.00", time_in_force="gtc")
    world.engine.split("AAPL", D(2), world.now, cancel_orders=True)
    assert (stop.status, world.position()) == (Status.CANCELED, D(20))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 30), st.integers(50, 150)),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_a_bust_is_as_if_it_never_happened(
    trades: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    skipped = data.draw(st.integers(0, len(trades) - 1))
    world = World(cash="1000000")
    for side, qty, price in trades:
        world.quote(f"{price}.00", f"{price}.01")
        held = abs(int(world.position()))
        turns = held and (world.position() > 0) == (side == "sell")
        world.submit(side, str(min(qty, held) if turns else qty))
    executions = list(world.engine.registry.executions)
    assert len(executions) == len(trades)
    amendments.bust(world.engine.registry, executions[skipped].id, world.now)
    oracle = World(cash="1000000").account
    for execution in executions[:skipped] + executions[skipped + 1 :]:
        apply_execution(
            oracle, "AAPL", execution.side, execution.qty, execution.money, execution.fee
        )
    assert (world.account.cash, world.account.realized_pnl) == (oracle.cash, oracle.realized_pnl)
    assert {s: (p.qty, p.cost) for s, p in world.account.positions.items()} == {
        s: (p.qty, p.cost) for s, p in oracle.positions.items()
    }
