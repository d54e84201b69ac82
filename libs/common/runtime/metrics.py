"""Figures that every service has, under the same names."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
)  # fmt: skip

HTTP_REQUESTS = Counter("http_requests_total", "Requests answered", ["method", "route", "status"])
HTTP_DURATION = Histogram(
    "http_request_duration_seconds", "Time to answer", ["method", "route"], buckets=LATENCY_BUCKETS
)
HTTP_THROTTLED = Counter("http_throttled_total", "Requests refused for their number", ["of"])
ACCESS_GRANTED = Counter("access_granted_total", "Callers that were recognised", ["kind"])
ACCESS_REFUSED = Counter("access_refused_total", "Callers that were turned away", ["code"])
BUS_PUBLISHED = Counter("bus_published_total", "Messages published", ["topic"])
BUS_CONSUMED = Counter("bus_consumed_total", "Messages handled", ["topic"])
BUS_FAILED = Counter("bus_failed_total", "Failed attempts to handle a message", ["topic"])
BUS_DEAD = Counter("bus_dead_letters_total", "Messages given up", ["topic"])
BUS_LAG = Histogram(
    "bus_lag_seconds", "Message written to message handled", ["topic"], buckets=LATENCY_BUCKETS
)
BUS_BREAKS = Counter("bus_connection_breaks_total", "Redis connections lost")
OUTBOX_PENDING = Gauge("outbox_pending", "Rows not yet published")
OUTBOX_SWEPT = Counter("outbox_swept_total", "Rows published by the sweeper, not at commit")
OUTBOX_EPOCHS = Counter("outbox_epoch_changes_total", "Times that Redis was found new")
DB_FAILURES = Counter("db_unavailable_total", "Transactions that found no database")
DB_DURATION = Histogram(
    "db_transaction_duration_seconds", "Transactions", ["kind"], buckets=LATENCY_BUCKETS
)
TASK_RESTARTS = Counter("task_restarts_total", "Background tasks restarted", ["task"])
CIRCUIT_STATE = Gauge("circuit_state", "0 closed, 1 half open, 2 open", ["circuit"])
READY = Gauge("service_ready", "1 when ready")
