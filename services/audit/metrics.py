"""Figures of the audit log."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from libs.common.runtime.metrics import LATENCY_BUCKETS

ROWS = Counter("audit_rows_total", "Rows appended to the audit log")
DUPLICATES = Counter("audit_duplicates_total", "Messages that were recorded already")
REJECTED = Counter("audit_rejected_total", "Messages that are no envelope, now dead letters")
HEAD_SEQ = Gauge("audit_head_seq", "The last row's place in the chain")
BACKLOG = Gauge("audit_backlog_messages", "Messages not recorded yet", ["stream"])
LAG = Gauge("audit_lag_seconds", "Age of the oldest message not recorded yet", ["stream"])
APPEND_DURATION = Histogram(
    "audit_append_duration_seconds", "One batch into the log", buckets=LATENCY_BUCKETS
)
CHAIN_BROKEN = Gauge("audit_chain_broken", "1 when the chain was found broken")
VERIFIED_ROWS = Gauge("audit_verified_rows", "Rows that the last whole verification read")
JOB_RUNS = Counter("audit_job_runs_total", "Runs of scheduled jobs", ["job_name", "outcome"])
JOB_DONE_AT = Gauge("audit_job_done_timestamp_seconds", "When a job last succeeded", ["job_name"])
ANCHORED_SEQ = Gauge("audit_anchored_seq", "The last row that an anchor covers")
UNDELIVERED = Gauge(
    "audit_anchors_undelivered", "Anchors that a target has not got yet", ["target"]
)
