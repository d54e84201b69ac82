"""The simulator's settings; the defaults are those of the embedded run."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from libs.common.runtime.settings import ServiceSettings
from services.broker_simulator.clock import Hours


class MarketKind(StrEnum):
    """Where prices come from."""

    HISTORY = "history"
    SYNTHETIC = "synthetic"
    REPLAY = "replay"
    SCRIPTED = "scripted"


class SimulatorSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`; `simulator_…` ones are this service's own.

    `simulator_start` is a date (the session begins just before that day's open), an RFC 3339
    time, or `now` for real time. Times within a day that nobody trades are skipped unless
    `simulator_hours` is `all`. Without `simulator_state`, a file, the books end with the process.
    """

    port: int = Field(default=9109, ge=0, le=65535)
    # The first account's pair. None has a default: whoever knows it trades and moves the clock.
    broker_key: SecretStr = Field(min_length=1)
    broker_secret: SecretStr = Field(min_length=1)

    simulator_market: MarketKind = MarketKind.HISTORY
    simulator_file: Annotated[tuple[Path, ...], NoDecode] = ()
    simulator_symbols: Annotated[tuple[str, ...], NoDecode] = ()
    simulator_seed: int = Field(default=7, ge=0)
    simulator_start: str = ""
    simulator_factor: float = Field(default=60.0, ge=0, lt=1e7)
    simulator_hours: Hours = Hours.REGULAR
    simulator_pause_s: float = Field(default=2.0, ge=0)
    simulator_lead_in_s: float = Field(default=120.0, ge=0)
    simulator_lead_out_s: float = Field(default=60.0, ge=0)
    simulator_tick_s: float = Field(default=0.02, gt=0, le=1)
    simulator_quotes_per_minute: float = Field(default=8.0, gt=0)
    simulator_trades_per_minute: float = Field(default=4.0, gt=0)
    simulator_state: Path | None = None
    simulator_state_s: float = Field(default=0.5, gt=0)

    simulator_cash: Decimal = Field(default=Decimal(1_000_000), ge=0)
    simulator_multiplier: Decimal = Field(default=Decimal(2), ge=1, le=4)
    simulator_accounts: Annotated[tuple[str, ...], NoDecode] = ()
    simulator_depth_levels: int = Field(default=10, ge=1, le=100)
    simulator_wash_trade_check: bool = True
    simulator_commission_per_share: Decimal = Field(default=Decimal(0), ge=0)
    simulator_commission_bps: Decimal = Field(default=Decimal(0), ge=0)
    simulator_regulatory_fees: bool = False
    simulator_sec_rate: Decimal = Field(default=Decimal("0.0000278"), ge=0)
    simulator_taf_per_share: Decimal = Field(default=Decimal("0.000166"), ge=0)
    simulator_taf_max: Decimal = Field(default=Decimal("8.30"), ge=0)

    simulator_faults: Path | None = None
    simulator_symbols_max: int = Field(default=0, ge=0)
    simulator_connections_max: int = Field(default=16, ge=1)
    simulator_client_buffer_bytes: int = Field(default=8_388_608, gt=0)

    @field_validator("simulator_file", "simulator_accounts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("simulator_symbols", mode="before")
    @classmethod
    def _split_upper(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().upper() for part in value.split(",") if part.strip())
        return value


DEFAULT_START = date(2019, 3, 4)
