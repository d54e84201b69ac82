"""Yahoo's price history through yfinance: no key, no promise; for research and for comparison."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from math import isfinite
from typing import Any

import requests

from libs.common.contracts.messages import Bar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError

_INTERVALS = {
    Timeframe.MINUTE: "1m",
    Timeframe.FIVE_MINUTES: "5m",
    Timeframe.QUARTER_HOUR: "15m",
    Timeframe.HOUR: "1h",
    Timeframe.DAY: "1d",
}


class YahooProvider:
    """Bars by yfinance, raw prices adjusted for splits only (Yahoo has no others).

    A symbol that Yahoo does not know has no bars. Yahoo's hour bars start at 09:30.
    """

    name = "yahoo"

    def __init__(self, timeout_s: float, session: requests.Session | None = None) -> None:
        self._timeout_s = timeout_s
        self._session = session

    async def bars(
        self, symbols: Sequence[str], timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> dict[str, list[Bar]]:
        """Bars that start in [start, end), oldest first. Raises UnavailableError,
        InvalidInputError for a timeframe that Yahoo does not have."""
        if timeframe not in _INTERVALS:
            raise InvalidInputError(f"yahoo has no {timeframe.value} bars")
        found = {
            symbol: await asyncio.to_thread(self._history, symbol, timeframe, start_ns, end_ns)
            for symbol in symbols
        }
        return {symbol: bars for symbol, bars in found.items() if bars}

    def _history(self, symbol: str, timeframe: Timeframe, start_ns: int, end_ns: int) -> list[Bar]:
        # Here and not above: yfinance opens its cache files when it is imported.
        import yfinance
        from yfinance.exceptions import YFException, YFPricesMissingError, YFTzMissingError

        # Otherwise it logs its errors and gives an empty frame, which looks like no trading.
        yfinance.config.debug.hide_exceptions = False
        try:
            frame = yfinance.Ticker(symbol, session=self._session).history(
                start=from_ns(start_ns),
                # Yahoo leaves out the day of `end`; what is too much is cut below.
                end=from_ns(end_ns) + timedelta(days=1),
                interval=_INTERVALS[timeframe],
                auto_adjust=False,
                actions=False,
                timeout=self._timeout_s,
            )
        except (YFPricesMissingError, YFTzMissingError):
            return []
        except (YFException, OSError, KeyError, TypeError, ValueError) as error:
            if _is_not_found(error):
                return []
            raise UnavailableError(f"yahoo {symbol}: {error}") from error
        bars = _bars(frame, timeframe)
        return [bar for bar in bars if start_ns <= bar.ts_event < end_ns]


def _is_not_found(error: Exception) -> bool:
    return getattr(getattr(error, "response", None), "status_code", None) == HTTPStatus.NOT_FOUND


def _bars(frame: Any, timeframe: Timeframe) -> list[Bar]:
    """Rows with all four prices; Yahoo leaves holes as NaN."""
    if frame.empty:
        return []
    times = frame.index.tz_convert("UTC").as_unit("ns").asi8.tolist()
    columns = [frame[name].tolist() for name in ("Open", "High", "Low", "Close", "Volume")]
    return [
        Bar(
            timeframe=timeframe.value,
            ts_event=ts,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=float(volume) if isfinite(volume) else 0.0,
            vwap=(high + low + close) / 3.0,
        )
        for ts, open_, high, low, close, volume in zip(times, *columns, strict=True)
        if all(map(isfinite, (open_, high, low, close)))
    ]
