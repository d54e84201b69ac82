"""What a strategy has made: trips, hits, slippage, drawdown, and its own limits."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal as D

import pytest
from pydantic import ValidationError

from libs.common.domain.vocabulary import Side, StrategyMode
from services.strategy_engine.performance import (
    Execution,
    OwnLimits,
    Performance,
    Split,
    Track,
    breach,
    performance_of,
)

NOON = dt.datetime(2024, 3, 1, 17, tzinfo=dt.UTC)
TODAY = NOON.date()


def executed(
    side: Side, quantity: int, price: str, reference: str | None = None, cost: str = "0"
) -> Execution:
    at = None if reference is None else D(reference)
    return Execution(uuid.uuid4(), "mine", "AAPL", side, D(quantity), D(price), D(cost), at, NOON)


def track_of(*executions: Execution) -> Track:
    track = Track()
    for execution in executions:
        track.apply(execution)
    return track


def standing(
    pnl: str, before: Performance | None = None, *, live: bool = True, day: dt.date = TODAY
) -> Performance:
    mode = StrategyMode.LIVE if live else StrategyMode.SHADOW
    return performance_of("mine", Track(), D(pnl), before, mode=mode, day=day)


def test_trip_from_flat_to_flat_is_a_hit_if_it_earns_more_than_it_cost() -> None:
    track = track_of(
        executed(Side.BUY, 10, "50", cost="1"),
        executed(Side.SELL, 4, "53"),
        executed(Side.SELL, 6, "53", cost="1"),
        executed(Side.BUY, 10, "50", cost="1"),
        executed(Side.SELL, 10, "50.15", cost="1"),
    )
    assert (track.executions, track.trips, track.hits) == (5, 2, 1)
    assert (track.realized, track.costs) == (D("31.5000"), D(4))


def test_turning_from_long_to_short_ends_a_trip_and_begins_one() -> None:
    track = track_of(
        executed(Side.BUY, 10, "50"), executed(Side.SELL, 15, "49"), executed(Side.BUY, 5, "48")
    )
    assert (track.trips, track.hits, track.realized) == (2, 1, D("-5.0000"))


def test_slippage_is_what_was_paid_above_the_signals_close() -> None:
    track = track_of(
        executed(Side.BUY, 10, "50.10", "50"),
        executed(Side.SELL, 10, "51.95", "52"),
        executed(Side.BUY, 1, "70"),
    )
    # 10 x 0.10 + 10 x 0.05 on 500 + 520 of notional.
    assert (track.slippage, track.referred) == (D("1.5000"), D("1020.0000"))
    seen = performance_of("mine", track, D(0), None, mode=StrategyMode.LIVE, day=TODAY)
    assert seen.slippage_bps == pytest.approx(14.70588, abs=1e-5)


def test_open_position_counts_at_its_mark_and_is_unknown_without_one() -> None:
    track = track_of(executed(Side.SELL, 10, "50"))
    assert track.unrealized({"AAPL": D(48)}) == D("20.0000")
    assert track.unrealized({}) is None
    track.split(Split(uuid.uuid4(), "mine", "AAPL", D(-10), NOON))
    assert track.unrealized({"AAPL": D(24)}) == D("20.0000")


def test_drawdown_counts_from_the_best_and_the_day_from_its_begin() -> None:
    first = standing("100")
    second = standing("160", first)
    third = standing("130", second)
    assert (third.drawdown, third.day_pnl) == (D(30), D(30))
    next_day = standing("120", third, day=TODAY + dt.timedelta(days=1))
    assert (next_day.drawdown, next_day.day_pnl) == (D(40), D(-10))


def test_who_goes_live_again_begins_anew() -> None:
    lost = standing("-500", standing("0"))
    assert lost.drawdown == D(500)
    away = standing("-500", lost, live=False)
    assert standing("-500", away).drawdown == D(0)


def test_each_limit_is_passed_only_above_it() -> None:
    limits = OwnLimits(drawdown_max=D(100), daily_loss_max=D(50), faults_max=1)
    best = standing("100")
    assert breach(limits, standing("50", best), 1) is None
    assert breach(OwnLimits(), standing("-9000", best), 99) is None
    passed = breach(OwnLimits(drawdown_max=D(100)), standing("-1", best), 0)
    assert passed == "drawdown 101 above its limit of 100"
    assert "loss of the day 51" in (breach(limits, standing("49", best), 0) or "")
    assert "stopped on 2 symbols" in (breach(limits, best, 2) or "")


@pytest.mark.parametrize(
    "bad", [{"drawdown_max": 0}, {"daily_loss_max": -1}, {"faults_max": -1}, {"drawdown": 5}]
)
def test_impossible_limits_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OwnLimits.model_validate(bad)
