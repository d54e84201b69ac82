"""Latency and cost of an order, against numbers worked out by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from libs.common.domain.vocabulary import Side
from services.trade_executor.dossier import Fill, Happened, Leg, cost, legs, milestones

START = dt.datetime(2026, 1, 2, 15, 4, 5, tzinfo=dt.UTC)


def at(ms: float) -> dt.datetime:
    return START + dt.timedelta(milliseconds=ms)


def fill(quantity: str, price: str, fees: str = "0", ms: float = 0) -> Fill:
    return Fill(Decimal(quantity), Decimal(price), Decimal(fees), at(ms))


# 100 x 10.02 + 300 x 10.06 = 1002 + 3018 = 4020 for 400: mean 10.05.
FILLS = [fill("100", "10.02", "0.30"), fill("300", "10.06", "0.90")]


def test_a_buy_above_arrival_costs() -> None:
    found = cost(Side.BUY, Decimal(10), FILLS)
    assert found.average_price == Decimal("10.05")
    assert found.quantity == Decimal(400)
    assert found.slippage_bps == Decimal(50)
    assert found.slippage == Decimal(20)
    assert found.fees == Decimal("1.20")
    assert found.total == Decimal("21.20")


def test_a_sell_above_arrival_gains() -> None:
    found = cost(Side.SELL, Decimal(10), FILLS)
    assert (found.slippage_bps, found.slippage) == (Decimal(-50), Decimal(-20))
    assert found.total == Decimal("-18.80")


def test_a_sell_below_arrival_costs() -> None:
    found = cost(Side.SELL, Decimal(20), [fill("10", "19.90")])
    assert (found.slippage_bps, found.slippage) == (Decimal(50), Decimal(1))


def test_figures_are_rounded_once_at_the_end() -> None:
    # 1 at 1 and 2 at 2: mean 5/3, against 1: 2/3 of 10 000 bps, 2 of money.
    found = cost(Side.BUY, Decimal(1), [fill("1", "1"), fill("2", "2")])
    assert found.average_price == Decimal("1.66666667")
    assert found.slippage_bps == Decimal("6666.6667")
    assert found.slippage == Decimal(2)


def test_nothing_executed_costs_nothing_that_is_known() -> None:
    found = cost(Side.BUY, Decimal(10), [])
    assert (found.average_price, found.slippage_bps, found.total) == (None, None, None)
    assert (found.quantity, found.fees) == (Decimal(0), Decimal(0))


def test_without_an_arrival_price_the_mean_is_still_told() -> None:
    for arrival in (None, Decimal(0)):
        found = cost(Side.BUY, arrival, FILLS)
        assert found.average_price == Decimal("10.05")
        assert (found.slippage_bps, found.slippage, found.total) == (None, None, None)
        assert found.fees == Decimal("1.20")


def test_every_leg_is_timed() -> None:
    way = milestones(
        signal=at(0),
        judged=at(3.5),
        written=at(5),
        events=[
            Happened("created", at(5)),
            Happened("send", at(5.25)),
            Happened("acknowledged", at(9)),
            Happened("partly_filled", at(12)),
        ],
        fills=[fill("1", "1", ms=40), fill("1", "1", ms=12)],
    )
    assert legs(way) == [
        Leg("signal", "judged", 3.5),
        Leg("judged", "written", 1.5),
        Leg("written", "sent", 0.25),
        Leg("sent", "acknowledged", 3.75),
        Leg("acknowledged", "first_execution", 3.0),
        Leg("first_execution", "last_execution", 28.0),
    ]


def test_a_leg_with_an_unknown_end_is_null() -> None:
    way = milestones(
        signal=None, judged=at(1), written=at(2), events=[Happened("deny", at(2))], fills=[]
    )
    assert [leg.ms for leg in legs(way)] == [None, 1.0, None, None, None, None]


def test_the_first_of_several_sends_counts_and_a_resend_is_no_word_of_the_venue() -> None:
    way = milestones(
        signal=None,
        judged=None,
        written=at(0),
        events=[
            Happened("send", at(1)),
            Happened("lose_outcome", at(2)),
            Happened("resend", at(3)),
            Happened("send", at(4)),
            Happened("working", at(6)),
        ],
        fills=[],
    )
    assert (way.sent, way.acknowledged) == (at(1), at(6))
