"""The collector's own figures."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from libs.common.runtime.metrics import LATENCY_BUCKETS

TICKS: Final = Counter("market_ticks_total", "Ticks that passed the checks", ["kind"])
QUARANTINED: Final = Counter("market_quarantined_total", "Ticks refused, by code", ["code"])
CONFLATED: Final = Counter("market_conflated_total", "Ticks shed by a full bridge", ["kind"])
BRIDGE_FILL: Final = Gauge("market_bridge_fill", "Ticks in the bridge at the last take")
BRIDGE_STATE: Final = Gauge("market_bridge_state", "0 normal, 1 warning, 2 critical")
FLUSH: Final = Histogram(
    "market_flush_seconds", "Oldest tick of a flush received to published", buckets=LATENCY_BUCKETS
)
UNPUBLISHED: Final = Counter("market_unpublished_total", "Messages lost because Redis was away")
ROWS: Final = Counter("market_rows_stored_total", "Rows written", ["table"])
ROWS_SHED: Final = Counter(
    "market_rows_shed_total", "Rows not stored: the buffer was full", ["table"]
)
ROWS_WAITING: Final = Gauge("market_rows_waiting", "Rows not yet stored", ["table"])
BARS: Final = Counter("market_bars_total", "Closed bars published", ["timeframe"])
BARS_REPEATED: Final = Counter("market_bars_repeated_total", "Bars that came a second time")
GAPS: Final = Counter("market_gaps_total", "Gaps seen between minute bars", ["outcome"])
FRESHNESS: Final = Gauge(
    "market_freshness_seconds", "Wall time since a symbol's last good tick", ["symbol"]
)
RECONNECTS: Final = Gauge("market_stream_reconnects", "Sessions after the first", ["provider"])
