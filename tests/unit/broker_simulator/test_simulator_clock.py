"""Market time against a wall clock that the test moves."""

from datetime import UTC, date, datetime, timedelta

import pytest

from libs.common.kernel.clock import from_ns, to_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.clock import Hours, MarketTime
from tests.support.exchange_world import calendar, ny

SECOND = 1_000_000_000


class Wall:
    """A wall clock that stands until it is moved."""

    def __init__(self) -> None:
        self.ns = 5 * SECOND

    def __call__(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> None:
        self.ns += int(seconds * SECOND)


def market_time(wall: Wall, start: int, factor: float, hours: Hours = Hours.REGULAR) -> MarketTime:
    return MarketTime(
        calendar(),
        start,
        factor,
        hours=hours,
        pause_s=2,
        lead_in=timedelta(minutes=2),
        lead_out=timedelta(minutes=1),
        monotonic_ns=wall,
    )


def test_runs_at_its_factor() -> None:
    wall = Wall()
    clock = market_time(wall, ny(10), 60)
    wall.wait(2.5)
    assert clock.now_ns() == ny(10, 2, 30)
    assert clock.rate == 60


def test_rests_after_the_close_then_jumps_to_the_next_session() -> None:
    wall = Wall()
    clock = market_time(wall, ny(15, 59), 60)
    wall.wait(2.5)  # 16:01 is reached after two seconds
    assert clock.now_ns() == ny(16, 1)
    assert clock.rate == 0
    wall.wait(1.5)  # the pause is over
    tuesday = date(2019, 3, 5)
    assert clock.now_ns() == ny(9, 28, day=tuesday)
    wall.wait(1)
    assert clock.now_ns() == ny(9, 29, day=tuesday)
    assert clock.rate == 60


def test_crosses_several_nights_at_once() -> None:
    wall = Wall()
    clock = market_time(wall, ny(9, 28), 3600)
    day = 393 / 60 + 2  # a session of 393 minutes takes 6.55 s, its night 2 s
    wall.wait(2 * day)
    assert clock.now_ns() == ny(9, 28, day=date(2019, 3, 6))


def test_skips_the_weekend() -> None:
    wall = Wall()
    friday = date(2019, 3, 8)
    clock = market_time(wall, ny(16, 0, 59, day=friday), 60)
    wall.wait(3)
    assert from_ns(clock.now_ns()).date() == date(2019, 3, 11)


def test_extended_hours_are_lived_through() -> None:
    wall = Wall()
    clock = market_time(wall, ny(16), 3600, Hours.EXTENDED)
    wall.wait(3)
    assert clock.now_ns() == ny(19)
    wall.wait(3)
    assert clock.now_ns() == ny(4, day=date(2019, 3, 5))


def test_real_time_skips_nothing() -> None:
    wall = Wall()
    clock = market_time(wall, ny(20), 1, Hours.ALL)
    wall.wait(3600)
    assert clock.now_ns() == ny(21)


def test_a_new_factor_holds_from_now_on() -> None:
    wall = Wall()
    clock = market_time(wall, ny(10), 60)
    wall.wait(1)
    clock.set_factor(1)
    wall.wait(1)
    assert clock.now_ns() == ny(10, 1, 1)


def test_standing_clock_moves_only_when_set_and_never_back() -> None:
    wall = Wall()
    clock = market_time(wall, ny(10), 0)
    wall.wait(100)
    assert clock.now_ns() == ny(10)
    clock.set(ny(11))
    assert clock.now_ns() == ny(11)
    with pytest.raises(InvalidInputError, match="does not run backward"):
        clock.set(ny(10))


def test_stands_still_where_the_calendar_ends() -> None:
    wall = Wall()
    last = datetime(2019, 12, 31, 21, tzinfo=UTC)
    clock = market_time(wall, to_ns(last), 3600)
    wall.wait(100)
    assert clock.now_ns() == to_ns(last + timedelta(minutes=1))
    assert clock.rate == 0


@pytest.mark.parametrize("factor", [-1, 1e9, float("nan"), float("inf")])
def test_absurd_factors_are_refused(factor: float) -> None:
    with pytest.raises(InvalidInputError, match="factor"):
        market_time(Wall(), ny(10), factor)
