"""The tape: the same seed gives the same bytes, and every day keeps its open, high, low, close."""

from datetime import date, timedelta

import numpy as np
import pytest

from libs.common.domain.sessions import SessionCalendar, load_calendar
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.market.bridge import DayShape, Density, expand
from services.broker_simulator.market.daily import DailyMarket, history_market
from services.broker_simulator.market.feed import Feed
from services.broker_simulator.market.synthetic import synthetic_market
from services.broker_simulator.market.tape import MINUTE_NS, DayTape, candles, merge

DAY = date(2019, 3, 4)
DENSITY = Density()


@pytest.fixture(scope="module")
def calendar() -> SessionCalendar:
    return load_calendar(date(1989, 12, 1), date(2023, 6, 30))


@pytest.fixture(scope="module")
def history(calendar: SessionCalendar) -> DailyMarket:
    return history_market(7, ("AAPL", "KO", "GE"), DENSITY, calendar)


def content(tape: DayTape) -> bytes:
    arrays = [getattr(part, name) for part in (tape.quotes, tape.trades) for name in part.__slots__]
    return b"".join(array.tobytes() for array in arrays)


def test_same_seed_gives_the_same_tape_in_any_order_of_asking(calendar: SessionCalendar) -> None:
    sessions = calendar.sessions_between(DAY, DAY + timedelta(days=7))
    one = history_market(7, ("AAPL", "KO"), DENSITY, calendar)
    other = history_market(7, ("KO", "AAPL"), DENSITY, calendar)
    forward = [content(one.day("AAPL", s)) for s in sessions]
    backward = [content(other.day("AAPL", s)) for s in reversed(sessions)]
    assert forward == backward[::-1]


def test_another_seed_gives_another_tape(calendar: SessionCalendar) -> None:
    session = calendar.session_on(DAY)
    assert session is not None
    tapes = [history_market(s, ("AAPL",), DENSITY, calendar).day("AAPL", session) for s in (7, 8)]
    assert content(tapes[0]) != content(tapes[1])


def test_closes_are_the_real_ones(history: DailyMarket, calendar: SessionCalendar) -> None:
    from skfolio.datasets import load_sp500_dataset

    closes = load_sp500_dataset()["KO"]
    for session in calendar.sessions_between(DAY, DAY + timedelta(days=30)):
        tape = history.day("KO", session)
        assert tape.trades.price[-1] / 10_000 == round(float(closes[str(session.date)]), 2)


@pytest.mark.parametrize("symbol", ["AAPL", "KO", "GE"])
def test_each_day_honours_its_outline(
    history: DailyMarket, calendar: SessionCalendar, symbol: str
) -> None:
    for session in calendar.sessions_between(date(2008, 9, 1), date(2008, 12, 31)):
        day = history.daily(symbol, session)
        assert day is not None
        tape = history.day(symbol, session)
        whole = merge(candles(tape.trades, 24 * 60 * MINUTE_NS), day.ts)
        assert (whole.open, whole.high, whole.low, whole.close) == (
            day.open,
            day.high,
            day.low,
            day.close,
        )
        assert (whole.volume, whole.trades) == (day.volume, day.trades)


def test_prints_lie_within_the_quote_before_them(
    history: DailyMarket, calendar: SessionCalendar
) -> None:
    session = calendar.session_on(DAY)
    assert session is not None
    tape = history.day("AAPL", session)
    at = np.searchsorted(tape.quotes.ts, tape.trades.ts) - 1
    assert (tape.quotes.bid[at] <= tape.trades.price).all()
    assert (tape.trades.price <= tape.quotes.ask[at]).all()
    assert (tape.quotes.bid < tape.quotes.ask).all()
    assert (np.diff(tape.quotes.ts) >= 0).all()
    assert tape.trades.ts[0] >= to_ns(session.open)
    assert tape.trades.ts[-1] < to_ns(session.close)


def test_flat_day_stays_flat(calendar: SessionCalendar) -> None:
    session = calendar.session_on(DAY)
    assert session is not None
    shape = DayShape(100_000, 100_000, 100_000, 100_000, 100_000, 1_000, 0.01)
    tape = expand(1, "X", DAY, session, shape, DENSITY)
    assert set(tape.trades.price.tolist()) == {100_000}


def test_half_day_ends_at_one(history: DailyMarket, calendar: SessionCalendar) -> None:
    session = calendar.session_on(date(2019, 7, 3))
    assert session is not None
    tape = history.day("AAPL", session)
    assert tape.quotes.ts[-1] < to_ns(session.close)


def test_feed_hands_out_every_tick_once_in_order(
    history: DailyMarket, calendar: SessionCalendar
) -> None:
    session = calendar.session_on(DAY)
    assert session is not None
    feed = Feed(history, calendar)
    feed.seek(to_ns(session.open) - 1)
    ticks = []
    for minute in range(392):
        ticks += feed.take(to_ns(session.open) + minute * MINUTE_NS)
    expected = sum(
        history.day(s, session).quotes.ts.size + history.day(s, session).trades.ts.size
        for s in feed.symbols
    )
    assert len(ticks) == expected
    assert [t[0] for t in ticks] == sorted(t[0] for t in ticks)


def test_feed_continues_where_it_was_put(history: DailyMarket, calendar: SessionCalendar) -> None:
    session = calendar.session_on(DAY)
    assert session is not None
    middle, end = to_ns(session.open) + 90 * MINUTE_NS, to_ns(session.open) + 120 * MINUTE_NS
    whole = Feed(history, calendar)
    whole.seek(to_ns(session.open))
    whole.take(middle)
    rest = whole.take(end)
    later = Feed(history, calendar)
    later.seek(middle - 1)
    assert later.take(end) == rest


def test_synthetic_market_moves_together_and_repeats(calendar: SessionCalendar) -> None:
    market = synthetic_market(3, ("AA", "BB"), DENSITY, calendar)
    again = synthetic_market(3, ("BB", "AA"), DENSITY, calendar)
    sessions = calendar.sessions_between(date(2018, 1, 1), date(2019, 12, 31))
    closes = []
    for symbol in ("AA", "BB"):
        days = [market.daily(symbol, s) for s in sessions]
        assert days == [again.daily(symbol, s) for s in sessions]
        closes.append(np.array([d.close for d in days if d is not None], dtype=float))
    returns = np.diff(np.log(np.array(closes)), axis=1)
    assert np.corrcoef(returns)[0, 1] > 0.1


def test_unknown_symbol_is_refused_by_name(calendar: SessionCalendar) -> None:
    with pytest.raises(InvalidInputError, match="no prices for NOPE"):
        history_market(7, ("NOPE",), DENSITY, calendar)
