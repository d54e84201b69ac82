"""Figures of the strategy engine."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from libs.common.runtime.metrics import LATENCY_BUCKETS

SIGNALS = Counter("strategy_signals_total", "Signals stored", ["strategy_id", "mode"])
SIGNALS_REPEATED = Counter("strategy_signals_repeated_total", "Signals that were stored already")
STEP_DURATION = Histogram(
    "strategy_step_duration_seconds",
    "One strategy, one bar",
    buckets=(2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2),
)
SIGNAL_LATENCY = Histogram(
    "strategy_signal_latency_seconds",
    "Market data received by us to signal committed, wall time, live bars",
    buckets=LATENCY_BUCKETS,
)
BARS = Counter("strategy_bars_total", "Bars stepped over", ["source"])
BARS_IGNORED = Counter("strategy_bars_ignored_total", "Bars not stepped over", ["reason"])
GAPS = Counter("strategy_gaps_total", "Gaps before a bar", ["outcome"])
FAULTS = Counter("strategy_faults_total", "Streams stopped by an error", ["strategy_id"])
SWAPS = Counter("strategy_swaps_total", "Strategies swapped while they ran", ["outcome"])
SWAP_PAUSE = Histogram(
    "strategy_swap_pause_seconds",
    "How long bars waited while a strategy was exchanged",
    buckets=(1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5),
)
LEASES_HELD = Gauge("strategy_leases_held", "Strategies that this replica runs")
LEASES_MOVED = Counter("strategy_leases_moved_total", "Strategies that changed hands", ["how"])
for _how in ("given", "taken"):
    LEASES_MOVED.labels(_how)
LEASES_LOST = Counter(
    "strategy_leases_lost_total", "Writes refused because another replica runs the strategy"
)
PNL = Gauge("strategy_pnl", "P&L after costs, account currency", ["strategy_id"])
DRAWDOWN = Gauge("strategy_drawdown", "P&L below its best, account currency", ["strategy_id"])
HIT_RATE = Gauge("strategy_hit_rate", "Share of round trips that earned money", ["strategy_id"])
DEMOTIONS = Counter(
    "strategy_demotions_total", "Strategies put into shadow by their own limits", ["strategy_id"]
)
WORKERS_ENDED = Counter(
    "strategy_workers_ended_total", "Processes of strategies that were ended or died", ["why"]
)
for _why in ("late", "died"):
    WORKERS_ENDED.labels(_why)
STREAMS = Gauge("strategy_streams", "Strategies times symbols", ["status"])
BEHIND = Gauge(
    "strategy_bars_behind",
    "Bars that a running strategy has not stepped over yet though the last of them has come",
    ["strategy_id"],
)
