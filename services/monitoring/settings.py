"""Settings of `monitoring`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from libs.common.runtime.settings import ServiceSettings

EXPECTED = (
    "audit",
    "backtester",
    "data_collector",
    "monitoring",
    "portfolio",
    "risk_manager",
    "security",
    "strategy_engine",
    "trade_executor",
)


class MonitoringSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`; times in wall seconds."""

    port: int = Field(default=8008, ge=0, le=65535)
    monitoring_services: Annotated[tuple[str, ...], NoDecode] = EXPECTED
    """The services that should be there; others are shown when they are heard."""
    monitoring_check_s: float = Field(default=1.0, gt=0, le=60)
    monitoring_stale_s: float = Field(default=15.0, gt=0)
    monitoring_down_s: float = Field(default=30.0, gt=0)
    monitoring_first_s: float = Field(default=90.0, gt=0)
    """How long a service may take to be heard of at all."""
    monitoring_settle_s: float = Field(default=10.0, ge=0)
    """A service that is degraded or stale for less raises no alert; a start takes that long."""
    monitoring_repeat_s: float = Field(default=300.0, gt=0)
    """A firing alert that keeps occurring is told to people again this often."""

    # Without both nothing is sent: alerts then stay in the list. TRADEWIND_GOTIFY_TOKEN_FILE
    # may name a file that holds the application's token.
    gotify_url: str = ""
    gotify_token: SecretStr = SecretStr("")
    gotify_timeout_s: float = Field(default=5.0, gt=0)
    gotify_attempts_max: int = Field(default=8, ge=1)
    gotify_delay_s: float = Field(default=0.5, gt=0)
    gotify_delay_s_max: float = Field(default=60.0, gt=0)
    gotify_queue_max: int = Field(default=200, ge=1)

    @field_validator("monitoring_services", mode="before")
    @classmethod
    def _split_services(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
