"""The use cases behind the API: look up, page, back-fill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.domain.instruments import Instrument
from libs.common.domain.sessions import SessionCalendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from services.data_collector.history import Backfill
from services.data_collector.instrument_book import InstrumentBook
from services.data_collector.latest import LatestTick, LatestTicks
from services.data_collector.ports import BarPage, HistoryProvider, PageStore, QuoteRow

SYMBOLS_MAX = 200


@dataclass(frozen=True, slots=True)
class BackfillJob:
    """What a backfill request did."""

    provider: str
    timeframe: Timeframe
    symbols: tuple[str, ...]
    bars: int


def known(book: InstrumentBook, symbol: str) -> Instrument:
    """The instrument of `symbol`. Raises NotFoundError naming it."""
    instrument = book.get(symbol)
    if instrument is None:
        raise NotFoundError(f"symbol {symbol!r} is unknown")
    return instrument


def symbols_of(book: InstrumentBook, text: str) -> tuple[str, ...]:
    """The known symbols of a comma-separated list. Raises InvalidInputError, NotFoundError."""
    symbols = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if not symbols:
        raise InvalidInputError("symbols: at least one is needed, comma separated")
    if len(symbols) > SYMBOLS_MAX:
        raise InvalidInputError(f"symbols: {len(symbols)} of at most {SYMBOLS_MAX}")
    for symbol in symbols:
        known(book, symbol)
    return symbols


def latest_of(latest: LatestTicks, symbols: Sequence[str]) -> list[LatestTick]:
    """The last tick of each of `symbols` that has one."""
    return [tick for symbol in symbols if (tick := latest.get(symbol)) is not None]


async def page_of_bars(
    store: PageStore,
    book: InstrumentBook,
    symbol: str,
    timeframe: Timeframe,
    start: datetime,
    end: datetime,
    limit: int,
) -> list[BarPage]:
    """One page of stored bars. Raises NotFoundError, InvalidInputError."""
    known(book, symbol)
    _check_range(start, end)
    return await store.bars(symbol, timeframe, start, end, limit)


async def page_of_quotes(
    store: PageStore, book: InstrumentBook, symbol: str, start: datetime, end: datetime, limit: int
) -> tuple[list[QuoteRow], datetime | None]:
    """One page of stored ticks and the cursor of the next. Raises NotFoundError,
    InvalidInputError.

    The cursor is a time, so a page ends between two times: ticks of the instant that the limit
    cuts are left to the next page whole.
    """
    known(book, symbol)
    _check_range(start, end)
    rows = await store.quotes(symbol, start, end, limit)
    if len(rows) < limit:
        return rows, None
    whole = [row for row in rows if row.ts < rows[-1].ts] or rows
    return whole, whole[-1].ts


async def backfill(
    work: Backfill,
    providers: Mapping[str, HistoryProvider],
    calendar: SessionCalendar,
    book: InstrumentBook,
    *,
    provider: str,
    symbols: Sequence[str],
    timeframe: Timeframe,
    start: datetime,
    end: datetime,
    now: datetime,
    replace: bool,
) -> BackfillJob:
    """Fetch closed bars of a range into the table.

    Longer intraday bars come with their minutes, so only `1m` and `1d` are asked for. Raises
    NotFoundError, InvalidInputError, ConflictError, UnavailableError.
    """
    source = providers.get(provider)
    if source is None:
        raise NotFoundError(f"provider {provider!r} is not configured ({', '.join(providers)})")
    if timeframe not in (Timeframe.MINUTE, Timeframe.DAY):
        raise InvalidInputError("timeframe: 1m and 1d can be back-filled, others are made of 1m")
    for symbol in symbols:
        known(book, symbol)
    _check_range(start, end)
    if start >= now:
        raise InvalidInputError("start lies in the future of the market clock")
    if start < calendar.sessions[0].open and timeframe is Timeframe.MINUTE:
        raise InvalidInputError(f"start: minutes from {calendar.sessions[0].date} on at most")
    if replace and provider == "alpaca" and timeframe is Timeframe.MINUTE:
        raise ConflictError("minutes of the live provider are never replaced: they were traded on")
    bars = await work.fetch(
        source,
        symbols,
        timeframe,
        to_ns(start),
        to_ns(now),
        end_ns=to_ns(end),
        replace=replace,
    )
    return BackfillJob(provider, timeframe, tuple(symbols), bars)


def _check_range(start: datetime, end: datetime) -> None:
    if start.tzinfo is None or end.tzinfo is None:
        raise InvalidInputError("start and end: times need a zone")
    if start >= end:
        raise InvalidInputError(f"start {start.isoformat()} is not before end {end.isoformat()}")
