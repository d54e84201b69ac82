"""Market time and session: clock, calendar and ticks together."""

from __future__ import annotations

import datetime as dt

import httpx

from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.clock import ManualClock, to_ns
from libs.common.runtime.clocks import MarketClock
from services.risk_manager.book import Book
from services.risk_manager.market import MarketView
from tests.support.desks import instruments

# A Tuesday of New York, 11:59 and 09:31 in winter time.
NOON = dt.datetime(2022, 3, 1, 16, 59, tzinfo=dt.UTC)
EVENING = dt.datetime(2022, 3, 2, 1, 30, tzinfo=dt.UTC)
NEXT_MORNING = dt.datetime(2022, 3, 2, 14, 31, tzinfo=dt.UTC)


async def view(now: dt.datetime, state: str) -> MarketView:
    """A view whose broker says that it is `now`, at sixty times wall speed."""
    clock = MarketClock("http://broker")
    answer = {"now": now.isoformat(), "factor": 60.0, "state": state}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with httpx.AsyncClient(transport=transport) as client:
        await clock.synchronise(client)
    made = MarketView(ManualClock(now), clock, Book(instruments()))
    await made.prepare()
    return made


async def test_calendar_tells_the_session() -> None:
    assert (await view(NOON, "closed")).moment().session is SessionState.REGULAR
    assert (await view(EVENING, "closed")).moment().session is SessionState.CLOSED
    assert (await view(NOON, "closed")).moment().factor == 60.0


async def test_broker_may_open_a_day_of_its_own() -> None:
    assert (await view(EVENING, "regular")).moment().session is SessionState.REGULAR


async def test_tick_of_the_morning_ends_the_night() -> None:
    """A simulated night is skipped between two polls: the first tick knows before the clock."""
    market = await view(EVENING, "closed")
    market.book.set_mark("AAPL", 99.0, 101.0, to_ns(NEXT_MORNING))
    now = market.moment()
    assert now.market_ns >= to_ns(NEXT_MORNING)
    assert now.session is SessionState.REGULAR
    assert market.date() == dt.date(2022, 3, 2)


async def test_date_is_the_exchanges() -> None:
    assert (await view(EVENING, "closed")).date() == dt.date(2022, 3, 1)
