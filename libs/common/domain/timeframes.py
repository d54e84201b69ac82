"""Timeframes of bars and how time is cut into them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from libs.common.kernel.clock import NS_PER_SECOND

_MINUTE_NS: Final = 60 * NS_PER_SECOND


class Timeframe(StrEnum):
    """A bar's span, named as on the wire and in `market_ohlcv`."""

    SECOND = "1s"
    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    QUARTER_HOUR = "15m"
    HOUR = "1h"
    DAY = "1d"

    @property
    def ns(self) -> int:
        """Return the span in nanoseconds; a day is the calendar's 24 hours."""
        return _SPANS_NS[self]

    def floor(self, ts_ns: int) -> int:
        """Return the start of the bucket that holds `ts_ns`, cut from the epoch on, in UTC."""
        return ts_ns - ts_ns % _SPANS_NS[self]


_SPANS_NS: Final = {
    Timeframe.SECOND: NS_PER_SECOND,
    Timeframe.MINUTE: _MINUTE_NS,
    Timeframe.FIVE_MINUTES: 5 * _MINUTE_NS,
    Timeframe.QUARTER_HOUR: 15 * _MINUTE_NS,
    Timeframe.HOUR: 60 * _MINUTE_NS,
    Timeframe.DAY: 1440 * _MINUTE_NS,
}
