"""Settings of the data collector: environment variables `TRADEWIND_<FIELD>`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from libs.common.runtime.settings import ServiceSettings


class CollectorSettings(ServiceSettings):
    """What the collector listens to, how it checks it and how much it keeps.

    Empty `data_url`, `data_stream_url` and `broker_url` mean Alpaca's own. Without a broker key
    there is no provider, which readiness says.
    """

    port: int = Field(default=9101, ge=0, le=65535)

    broker_key: SecretStr = SecretStr("")
    broker_secret: SecretStr = SecretStr("")
    broker_url: str = "http://127.0.0.1:9109"
    data_url: str = "http://127.0.0.1:9109"
    data_stream_url: str = "ws://127.0.0.1:9109/v2/iex"
    data_feed: Literal["iex", "sip", "delayed_sip"] = "iex"
    files_path: Path | None = None
    yahoo_enabled: bool = False

    history_timeout_s: float = Field(default=10.0, gt=0)
    history_attempts: int = Field(default=3, ge=1, le=10)
    history_requests_per_minute: int = Field(default=180, ge=1)
    gap_fill_timeout_s: float = Field(default=3.0, gt=0)

    stream_mute_s_max: float = Field(default=15.0, gt=0)
    stream_delay_s: float = Field(default=0.25, gt=0)
    stream_delay_s_max: float = Field(default=30.0, gt=0)

    bridge_capacity: int = Field(default=10_000, ge=100)
    flush_ms_min: float = Field(default=1.0, ge=0)
    flush_ms_max: float = Field(default=5.0, ge=0)

    tick_future_s_max: float = Field(default=5.0, gt=0)
    tick_age_s_max: float = Field(default=60.0, gt=0)
    outlier_mad: float = Field(default=10.0, gt=0)
    outlier_floor: float = Field(default=0.03, gt=0, lt=1)

    ticks_stored: bool = True
    tick_rows_max: int = Field(default=100_000, ge=1)
    tick_batch_rows: int = Field(default=2_500, ge=1)
    tick_store_s: float = Field(default=0.25, gt=0)
    bars_pending_max: int = Field(default=100_000, ge=1)

    warmup_minute_days: int = Field(default=2, ge=0, le=60)
    warmup_daily_bars: int = Field(default=60, ge=0, le=5000)

    cache_ttl_s: int = Field(default=60, ge=1)
    cache_refresh_s: float = Field(default=1.0, gt=0)
