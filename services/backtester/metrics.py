"""Figures of the backtester."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

SECONDS: Final = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)

SUBMITTED = Counter("backtester_submitted_total", "Runs taken into the queue", ["kind"])
REFUSED = Counter("backtester_refused_total", "Runs refused because the queue was full")
ENDED = Counter("backtester_ended_total", "Runs by how they ended", ["kind", "status"])
WAITING = Gauge("backtester_waiting", "Runs that wait")
RUNNING = Gauge("backtester_running", "Runs at work")
DURATION = Histogram("backtester_run_seconds", "From start to end", ["kind"], buckets=SECONDS)
LIMITS = Counter("backtester_limits_total", "Runs ended for breaking a limit", ["limit"])
PARITY_UNEXPLAINED = Gauge(
    "backtester_parity_unexplained", "Live decisions of the last nightly replay without a cause"
)
PARITY_DIFFERENCES = Gauge(
    "backtester_parity_differences", "Live decisions that differ in the last nightly replay"
)
