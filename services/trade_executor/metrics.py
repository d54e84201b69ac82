"""The executor's own figures."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from libs.common.runtime.metrics import LATENCY_BUCKETS

ORDERS = Counter("orders_total", "Order state changes", ["status"])
TRIGGERS = Counter("order_triggers_total", "Triggers by what became of them", ["status"])
ORDERS_OPEN = Gauge("orders_open", "Orders that have not come to an end")
OUTCOMES_UNKNOWN = Counter("orders_outcome_unknown_total", "Answers that never came")
OUTCOMES_PENDING = Gauge("orders_outcome_pending", "Orders whose fate is being looked up")
EXECUTIONS = Counter("executions_total", "Executions booked", ["source"])
DUPLICATES = Counter("executions_duplicate_total", "Executions that arrived again", ["source"])
ALIASES = Counter(
    "executions_alias_total", "Executions that were booked by another name", ["source"]
)
ANOMALIES = Counter("order_anomalies_total", "Things that should not have happened", ["kind"])
LEG: Final = Histogram(
    "order_leg_seconds",
    "Time of each leg of an order's way",
    ["leg"],
    buckets=LATENCY_BUCKETS,
)
BATCH = Histogram(
    "books_batch_entries", "Writes that shared a commit", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
DISCREPANCIES = Gauge("discrepancies_open", "Differences with the broker that are not resolved")
RECONCILIATIONS = Counter("reconciliations_total", "Comparisons with the broker", ["cause"])
REVERSALS = Counter("executions_reversed_total", "Executions that the venue took back", ["kind"])
LEDGER_IMBALANCE = Gauge("ledger_imbalance", "Absolute sum over all ledgers; zero, ever")
BROKER_CALLS = Counter("broker_calls_total", "Requests to the broker", ["call", "outcome"])
BROKER_DURATION = Histogram(
    "broker_call_seconds", "Time the broker took", ["call"], buckets=LATENCY_BUCKETS
)
ANSWERS_UNREADABLE = Counter(
    "broker_answers_unreadable_total", "Answers, or rows of lists, that could not be read", ["call"]
)
QUARANTINE_SHED = Counter(
    "broker_quarantine_shed_total", "Unreadable things that were counted and not kept"
)
STREAM_EVENTS = Counter("broker_stream_events_total", "Events of the broker's stream", ["event"])
STREAM_CONNECTS = Counter("broker_stream_connects_total", "Times the stream was opened")
STREAM_DISTRUSTED = Counter(
    "broker_stream_mute_total", "Times the stream did not tell what REST told"
)
STREAM_UNREADABLE = Counter("broker_stream_unreadable_total", "Frames that could not be read")
WIRE_MESSAGES_SHED = Counter(
    "broker_messages_shed_total", "Messages of the wire that were not kept, for want of room"
)
