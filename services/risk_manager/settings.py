"""Settings of the risk manager."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from libs.common.runtime.settings import ServiceSettings


class RiskSettings(ServiceSettings):
    """`TRADEWIND_<FIELD>`; times in wall seconds."""

    port: int = Field(default=9103, ge=0, le=65535)
    # How long an approval may wait to become an order, and how long after that it is believed
    # that the order may still turn up.
    risk_reservation_s: float = Field(default=30.0, gt=0, le=3600)
    risk_reservation_grace_s: float = Field(default=5.0, ge=0, le=600)
    # Signals judged in one transaction.
    risk_batch_max: int = Field(default=128, ge=1, le=1000)
    # How long a judgement waits for a first price, and for how long after the start it does.
    risk_settle_s: float = Field(default=3.0, ge=0, le=60)
    risk_refresh_s: float = Field(default=5.0, gt=0, le=300)
    risk_watch_s: float = Field(default=1.0, gt=0, le=60)
    risk_rules_s: float = Field(default=5.0, gt=0, le=300)
    risk_metrics_s: float = Field(default=30.0, gt=0, le=3600)
    risk_instruments_s: float = Field(default=60.0, gt=0, le=3600)
    # The longest deadline that a caller may set.
    risk_deadline_s_max: float = Field(default=30.0, gt=0, le=300)
    # Where `tradewind halt --direct` leaves its mark when the database cannot be reached.
    risk_halt_mark: Path | None = None
