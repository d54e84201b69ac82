"""Settings of the executor."""

from __future__ import annotations

from pydantic import Field, SecretStr

from libs.common.runtime.settings import ServiceSettings


class ExecutorSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`; times in seconds of wall time."""

    port: int = Field(default=9104, ge=0, le=65535)

    broker_url: str = "http://127.0.0.1:9109"
    broker_stream_url: str = "ws://127.0.0.1:9109/stream"
    broker_key: SecretStr = SecretStr("")
    broker_secret: SecretStr = SecretStr("")
    broker_threads: int = Field(default=16, ge=1, le=128)
    broker_timeout_s: float = Field(default=5.0, gt=0)
    # A request as a whole, and the most that is read of its answer.
    broker_answer_s_max: float = Field(default=10.0, gt=0)
    broker_answer_bytes_max: int = Field(default=8 * 1024 * 1024, ge=64 * 1024)
    # Not set: 200 a minute at Alpaca, its usual limit; as good as none elsewhere.
    broker_calls_per_minute: float | None = Field(default=None, gt=0)
    broker_failures_max: int = Field(default=5, ge=1)
    broker_circuit_reset_s: float = Field(default=5.0, gt=0)
    stream_ping_s: float = Field(default=5.0, gt=0)
    stream_reconnect_s_max: float = Field(default=10.0, gt=0)

    risk_url: str = "http://127.0.0.1:9103"
    risk_timeout_s: float = Field(default=2.0, gt=0)

    # How long a caller over HTTP waits for the books; below the gateway's time-out.
    answer_s_max: float = Field(default=10.0, gt=0)

    # May the account spend what it does not have, and sell what it does not hold?
    margin: bool = False
    shorting: bool = True
    market_collar_percent: float = Field(default=5.0, ge=0, le=100)

    batch_max: int = Field(default=64, ge=1, le=1000)
    # Messages of the wire that wait to be kept; each takes a few KiB of memory.
    wire_messages_max: int = Field(default=10_000, ge=1)
    orders_in_flight_max: int = Field(default=256, ge=1)

    gate_age_ms_max: float = Field(default=20.0, ge=0)
    gate_poll_s: float = Field(default=1.0, gt=0)
    risk_heartbeat_s_max: float = Field(default=15.0, gt=0)

    lookup_s_first: float = Field(default=0.25, gt=0)
    lookup_s_max: float = Field(default=2.0, gt=0)
    lookup_settle_s: float = Field(default=6.0, gt=0)
    attempts_max: int = Field(default=3, ge=1)

    reconcile_orders_s: float = Field(default=30.0, gt=0)
    reconcile_books_s: float = Field(default=60.0, gt=0)
    # Protection: how often it is looked at, how long an entry may stand partly filled before the
    # rest is cancelled to guard the part, and how long shares may be naked before somebody is told.
    protection_look_s: float = Field(default=2.0, gt=0)
    protection_entry_s: float = Field(default=5.0, ge=0)
    protection_naked_s: float = Field(default=10.0, ge=0)
    close_poll_s: float = Field(default=1.0, gt=0)
    # How long after a tie-out that differs the day is looked at again.
    tie_out_retry_s: float = Field(default=300.0, gt=0)
    # A difference must be seen twice, this long after the last event, before it counts.
    settle_s: float = Field(default=5.0, gt=0)
    # A trigger is met by no older price, and its order begun no later (wall seconds).
    trigger_price_age_s_max: float = Field(default=15.0, gt=0)
    watch_s: float = Field(default=5.0, gt=0)
    # Market time that is asked for again before the watermark of the last comparison.
    watermark_overlap_s: float = Field(default=900.0, ge=0)
    # How long a closing waits for the end of the orders that reserve its shares.
    closing_cancel_s_max: float = Field(default=30.0, gt=0)
