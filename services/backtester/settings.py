"""Settings of `backtester`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import NoDecode

from libs.common.runtime.settings import ServiceSettings

_ROOT: Final = Path(__file__).resolve().parents[2]


def _half_of_the_cores() -> int:
    return max(1, (os.cpu_count() or 2) // 2)


class BacktesterSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`; times in wall seconds."""

    port: int = Field(default=9107, ge=0, le=65535)
    strategy_dirs: tuple[Path, ...] = (_ROOT / "strategies",)
    backtests_folder: Path = _ROOT / "var/backtests/service"
    """Where runs keep their files, one folder each."""
    backtests_data: Annotated[Path | None, NoDecode] = None
    """The folder below which a request may name Parquet and CSV files; unset: none may."""
    backtests_queue_max: int = Field(default=32, ge=1, le=10_000)
    backtests_parallel: int = Field(default_factory=_half_of_the_cores, ge=1, le=256)
    """How many runs work at once."""
    backtests_timeout_s: float = Field(default=600.0, gt=0)
    backtests_memory_mb: int = Field(default=2_048, ge=256)
    """What one run may hold in memory."""
    backtests_disk_mb: int = Field(default=1_024, ge=16)
    """How large one file of a run may grow."""
    backtests_bars_max: int = Field(default=5_000_000, ge=1)
    """How many bars one run may read from the database."""
    backtests_locate_s: float = Field(default=20.0, gt=0)
    """How long a run that broke its limits is stepped through again, to name the bar."""
    backtests_niceness: int = Field(default=10, ge=0, le=19)
    parity_nightly: bool = True
    """Whether the last recorded session is replayed and compared each night."""
    parity_at: str = Field(default="02:30", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """When, UTC."""
