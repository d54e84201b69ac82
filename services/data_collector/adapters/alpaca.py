"""Alpaca's REST side through its own client library: history, latest quotes, assets.

The library blocks, has no time-out and sleeps 3 s between its own retries; so its calls run in
a thread, its session gets a time-out, its retries are off and ours take their place.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import StockBarsRequest, StockLatestQuoteRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass as AlpacaAssetClass
from alpaca.trading.enums import AssetStatus
from alpaca.trading.requests import GetAssetsRequest
from requests.adapters import HTTPAdapter

from libs.common.contracts.messages import Bar, Quote
from libs.common.domain.instruments import AssetClass, Instrument
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import NS_PER_SECOND, parse_ns
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.resilience import retry, token_bucket
from services.data_collector.adapters.alpaca_stream import is_loopback

T = TypeVar("T")

_log = get_logger(__name__)
_TIMEFRAMES = {
    Timeframe.MINUTE: TimeFrame(1, TimeFrameUnit.Minute),
    Timeframe.FIVE_MINUTES: TimeFrame(5, TimeFrameUnit.Minute),
    Timeframe.QUARTER_HOUR: TimeFrame(15, TimeFrameUnit.Minute),
    Timeframe.HOUR: TimeFrame(1, TimeFrameUnit.Hour),
    Timeframe.DAY: TimeFrame(1, TimeFrameUnit.Day),
}


class AlpacaRest:
    """History and assets of one Alpaca account, or of the simulated broker.

    URLs have no trailing slash; an empty one means Alpaca's own. Every method raises
    UnavailableError when the answer does not come in time, is refused or can't be read.
    """

    name = "alpaca"

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        data_url: str,
        trading_url: str,
        feed: str,
        timeout_s: float,
        attempts: int,
        requests_per_minute: int,
    ) -> None:
        self._feed = DataFeed(feed)
        self._attempts = attempts
        self._budget = token_bucket(requests_per_minute, 60.0)
        self._data = StockHistoricalDataClient(
            key, secret, raw_data=True, url_override=data_url or None
        )
        self._trading = TradingClient(
            key, secret, paper=True, raw_data=True, url_override=trading_url or None
        )
        for client, url in ((self._data, data_url), (self._trading, trading_url)):
            _tame(client, timeout_s, proxies=not is_loopback(url))

    async def bars(
        self, symbols: Sequence[str], timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> dict[str, list[Bar]]:
        """Bars that start in [start, end), oldest first, raw (unadjusted) prices."""
        if not symbols or start_ns >= end_ns:
            return {}
        request = StockBarsRequest(
            symbol_or_symbols=list(symbols),
            timeframe=_TIMEFRAMES[timeframe],
            start=_datetime(start_ns),
            end=_datetime(end_ns),
            adjustment=Adjustment.RAW,
            feed=self._feed,
        )
        raw = await self._ask("bars", lambda: self._data.get_stock_bars(request))
        found = self._read("bars", lambda: _bars(raw, timeframe))
        kept = {
            symbol: [bar for bar in bars if start_ns <= bar.ts_event < end_ns]
            for symbol, bars in found.items()
        }
        return {symbol: bars for symbol, bars in kept.items() if bars}

    async def latest_quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The last quote of each symbol that has one."""
        request = StockLatestQuoteRequest(symbol_or_symbols=list(symbols), feed=self._feed)
        raw = await self._ask("latest quotes", lambda: self._data.get_stock_latest_quote(request))
        return self._read(
            "latest quotes", lambda: {symbol: _quote(item) for symbol, item in raw.items()}
        )

    async def instruments(self) -> list[Instrument]:
        """Every active US equity of the broker."""
        request = GetAssetsRequest(
            status=AssetStatus.ACTIVE, asset_class=AlpacaAssetClass.US_EQUITY
        )
        raw = await self._ask("assets", lambda: self._trading.get_all_assets(request))
        return self._read("assets", lambda: _instruments(raw))

    async def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        async def once() -> Any:
            async with self._budget:
                return await asyncio.to_thread(_guarded, what, call)

        return await retry(
            once, on=UnavailableError, attempts=self._attempts, delay_s=0.1, delay_s_max=2.0
        )

    @staticmethod
    def _read(what: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnavailableError(f"alpaca {what}: unreadable answer: {error!r}") from error


class _TimedAdapter(HTTPAdapter):
    """Gives every request a time-out: the library sets none."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__()

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = self._timeout_s
        return super().send(request, *args, **kwargs)


def _tame(client: RESTClient, timeout_s: float, *, proxies: bool) -> None:
    client._retry = 0
    client._session.trust_env = proxies
    for scheme in ("http://", "https://"):
        client._session.mount(scheme, _TimedAdapter(timeout_s))


def _guarded(what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except APIError as error:
        raise UnavailableError(f"alpaca {what}: {_words(error)}") from error
    except (requests.RequestException, ValueError) as error:
        raise UnavailableError(f"alpaca {what}: {error}") from error


def _words(error: APIError) -> str:
    try:
        return f"{error.message} ({error.status_code}, code {error.code})"
    except (ValueError, KeyError, TypeError):
        return f"status {error.status_code}"


def _bars(raw: Any, timeframe: Timeframe) -> dict[str, list[Bar]]:
    return {
        symbol: [
            Bar(
                timeframe=timeframe.value,
                ts_event=parse_ns(item["t"]),
                open=float(item["o"]),
                high=float(item["h"]),
                low=float(item["l"]),
                close=float(item["c"]),
                volume=float(item["v"]),
                vwap=float(item.get("vw") or 0.0),
                trades=int(item.get("n") or 0),
            )
            for item in items or []
        ]
        for symbol, items in raw.items()
    }


def _quote(item: Any) -> Quote:
    return Quote(
        ts_event=parse_ns(item["t"]),
        bid=float(item["bp"]),
        ask=float(item["ap"]),
        bid_size=float(item["bs"]),
        ask_size=float(item["as"]),
    )


def _instruments(raw: Any) -> list[Instrument]:
    """Every asset that we can make an instrument of; one odd asset must not cost the others."""
    made: list[Instrument] = []
    odd: list[str] = []
    for item in raw:
        try:
            made.append(
                Instrument(
                    symbol=item["symbol"],
                    name=item.get("name") or "",
                    exchange=item["exchange"],
                    asset_class=AssetClass(item["class"]),
                    tradable=bool(item["tradable"]),
                    shortable=bool(item.get("shortable")),
                    fractionable=bool(item.get("fractionable")),
                )
            )
        except (KeyError, ValueError) as error:
            odd.append(f"{item.get('symbol')}: {error}")
    if odd:
        _log.warning("assets_left_out", count=len(odd), first=odd[0])
    return made


def _datetime(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // NS_PER_SECOND, UTC)
