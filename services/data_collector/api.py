"""HTTP routes of market data, under /api/v1/market."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from libs.common.domain.instruments import Instrument
from libs.common.domain.sessions import OutsideCalendarError, Session, SessionCalendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.app import json_response
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.data_collector import handlers
from services.data_collector.history import Backfill
from services.data_collector.instrument_book import InstrumentBook
from services.data_collector.latest import LatestTick, LatestTicks
from services.data_collector.ports import (
    BarPage,
    HistoryProvider,
    PageStore,
    ProviderHealth,
    QuarantineRow,
    QuoteRow,
)
from services.data_collector.shapes import ProviderShape

READ = requires("market:read")
WRITE = requires("market:write")
BAR_ROWS_MAX = 10_000
CALENDAR_DAYS_MAX = 400
_ARROW_STREAM = "application/vnd.apache.arrow.stream"
_OTHER_FORMS = {
    "text/csv": {"type": "string"},
    _ARROW_STREAM: {"type": "string", "format": "binary"},
}

SymbolParam = Annotated[str, Query(pattern=r"^[A-Za-z0-9./-]{1,32}$")]
LimitParam = Annotated[int, Query(ge=1, le=BAR_ROWS_MAX)]


class Format(StrEnum):
    """How bars are written."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"


class BackfillRequest(BaseModel):
    """Which bars to fetch from which provider; `replace` overwrites stored ones."""

    model_config = ConfigDict(extra="forbid")

    symbols: list[Annotated[str, Field(pattern=r"^[A-Z0-9./-]{1,32}$")]] = Field(
        min_length=1, max_length=handlers.SYMBOLS_MAX
    )
    timeframe: Timeframe
    start: AwareDatetime
    end: AwareDatetime | None = None
    provider: str = Field(default="alpaca", max_length=32)
    replace: bool = False


@dataclass(frozen=True)
class Market:
    """What the routes stand on; the callables give what may be swapped or moves on."""

    store: PageStore
    latest: LatestTicks
    backfill: Backfill
    providers: dict[str, HistoryProvider]
    book: Callable[[], InstrumentBook]
    calendar: Callable[[], SessionCalendar]
    health: Callable[[], Sequence[ProviderHealth]]
    now: Callable[[], datetime]


def router(market: Callable[[], Market]) -> APIRouter:
    """The routes; `market()` raises UnavailableError until the service has started."""
    routes = APIRouter(prefix="/api/v1/market", tags=["market"])

    @routes.get("/quotes/latest", dependencies=[READ], responses=answers(page_of(LatestTick), 404))
    async def latest_quotes(symbols: Annotated[str, Query(max_length=8000)]) -> Response:
        """The last good quote and trade of each symbol; symbols without one are absent."""
        desk = market()
        wanted = handlers.symbols_of(desk.book(), symbols)
        return json_response({"items": handlers.latest_of(desk.latest, wanted), "next": None})

    @routes.get("/quotes", dependencies=[READ], responses=answers(page_of(QuoteRow), 404))
    async def quotes(
        symbol: SymbolParam,
        start: AwareDatetime | None = None,
        end: AwareDatetime | None = None,
        after: AwareDatetime | None = None,
        limit: LimitParam = 1000,
    ) -> Response:
        """Stored ticks of one symbol, oldest first; the last hour of the market unless said."""
        desk = market()
        first, last = _range(desk, start, end, after, timedelta(hours=1))
        rows, following = await handlers.page_of_quotes(
            desk.store, desk.book(), symbol.upper(), first, last, limit
        )
        return json_response({"items": rows, "next": following})

    @routes.get(
        "/bars", dependencies=[READ], responses=answers(page_of(BarPage), 404, media=_OTHER_FORMS)
    )
    async def bars(
        symbol: SymbolParam,
        timeframe: Timeframe = Timeframe.MINUTE,
        start: AwareDatetime | None = None,
        end: AwareDatetime | None = None,
        after: AwareDatetime | None = None,
        limit: LimitParam = 1000,
        format: Format = Format.JSON,
    ) -> Response:
        """Stored closed bars, oldest first; the last 300 spans of the market unless said."""
        desk = market()
        default = timedelta(seconds=300 * timeframe.ns / 1e9)
        first, last = _range(desk, start, end, after, default)
        rows = await handlers.page_of_bars(
            desk.store, desk.book(), symbol.upper(), timeframe, first, last, limit
        )
        if format is Format.CSV:
            return Response(_csv(rows), media_type="text/csv")
        if format is Format.ARROW:
            return Response(_arrow(rows), media_type=_ARROW_STREAM)
        return json_response({"items": rows, "next": rows[-1].ts if len(rows) == limit else None})

    @routes.get("/instruments", dependencies=[READ], responses=answers(page_of(Instrument)))
    async def instruments(
        search: Annotated[str, Query(max_length=32)] = "",
        after: Annotated[str, Query(max_length=32)] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Instruments whose symbol begins with `search`, by symbol."""
        found = market().book().search(search.upper(), after.upper(), limit)
        following = found[-1].symbol if len(found) == limit else None
        return json_response({"items": [asdict(item) for item in found], "next": following})

    @routes.get("/instruments/{symbol:path}", dependencies=[READ], responses=answers(Instrument))
    async def instrument(symbol: str) -> Response:
        """One instrument."""
        return json_response(asdict(handlers.known(market().book(), symbol.upper())))

    @routes.get("/providers", dependencies=[READ], responses=answers(page_of(ProviderShape)))
    async def providers() -> Response:
        """The configured providers and how the live one is doing."""
        desk = market()
        live = {health.name: health for health in desk.health()}
        names = dict.fromkeys([*live, *desk.providers])
        items = [
            {"name": name, "history": name in desk.providers, "stream": live.get(name)}
            for name in names
        ]
        return json_response({"items": items, "next": None})

    @routes.get("/quarantine", dependencies=[READ], responses=answers(page_of(QuarantineRow)))
    async def quarantine(
        symbol: SymbolParam | None = None,
        code: Annotated[str | None, Query(pattern=r"^[A-Z_]{1,40}$")] = None,
        after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Refused ticks with their reason, newest first."""
        rows = await market().store.quarantined(symbol, code, after, limit)
        return json_response({"items": rows, "next": rows[-1].id if len(rows) == limit else None})

    @routes.get("/calendar", dependencies=[READ], responses=answers(page_of(Session)))
    async def calendar(start: date | None = None, end: date | None = None) -> Response:
        """Sessions of the exchange from `start` to `end`; the next ten days unless said."""
        desk = market()
        first = start or desk.now().date()
        last = end or first + timedelta(days=10)
        if not first <= last <= first + timedelta(days=CALENDAR_DAYS_MAX):
            raise InvalidInputError(f"calendar: end within {CALENDAR_DAYS_MAX} days after start")
        known = desk.calendar().sessions
        if first < known[0].date or last > known[-1].date:
            raise OutsideCalendarError(f"calendar: from {known[0].date} to {known[-1].date}")
        found = desk.calendar().sessions_between(first, last)
        return json_response({"items": found, "next": None})

    @routes.post(
        "/backfill",
        dependencies=[WRITE],
        status_code=201,
        responses=answers(handlers.BackfillJob, 404, 409, status=201),
    )
    async def backfill(body: BackfillRequest) -> Response:
        """Fetch closed bars of a range into the store and wait for it."""
        desk = market()
        now = desk.now()
        job = await handlers.backfill(
            desk.backfill,
            desk.providers,
            desk.calendar(),
            desk.book(),
            provider=body.provider,
            symbols=body.symbols,
            timeframe=body.timeframe,
            start=body.start,
            end=body.end or now,
            now=now,
            replace=body.replace,
        )
        return json_response(job, status=201)

    return routes


def _range(
    desk: Market,
    start: datetime | None,
    end: datetime | None,
    after: datetime | None,
    default: timedelta,
) -> tuple[datetime, datetime]:
    """[start, end) of a page; the cursor `after` is the time of the page before's last item."""
    try:
        last = (end or desk.now()).astimezone(UTC)
        first = (start or last - default).astimezone(UTC)
        if after is not None:
            first = max(first, after.astimezone(UTC) + timedelta(microseconds=1))
            # A cursor at the very end asks for an empty page, which is no error.
            last = max(last, first + timedelta(microseconds=1))
    except OverflowError as error:
        raise InvalidInputError("start, end, after: not within the years 1 to 9999") from error
    return first, last


def _csv(rows: Sequence[BarPage]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in fields(BarPage))
    for row in rows:
        writer.writerow([row.ts.isoformat(), *astuple(row)[1:]])
    return text.getvalue()


_ARROW = pa.schema(
    [
        ("ts", pa.timestamp("us", "UTC")),
        *((name, pa.decimal128(20, 8)) for name in ("open", "high", "low", "close", "volume")),
        ("vwap", pa.decimal128(20, 8)),
        ("trades", pa.int64()),
        ("provider", pa.string()),
    ]
)


def _arrow(rows: Sequence[BarPage]) -> bytes:
    columns: list[Any] = [[getattr(row, name) for row in rows] for name in _ARROW.names]
    batch = pa.record_batch(
        [pa.array(column, kind.type) for column, kind in zip(columns, _ARROW, strict=True)],
        schema=_ARROW,
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _ARROW) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data
