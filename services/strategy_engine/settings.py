"""Settings of the strategy engine."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path
from typing import Final

from pydantic import Field

from libs.common.runtime.settings import ServiceSettings
from services.strategy_engine.configuration import Seed, default_seeds

_BUILT_IN: Final = Path(__file__).resolve().parents[2] / "strategies"


class EngineSettings(ServiceSettings):
    """Environment variables `TRADEWIND_<FIELD>`, beside those that every service has.

    `strategies` (JSON) is read at the first start only, when the table is empty; without it two
    built-in strategies share `symbols`. `strategy_dirs` (JSON list) holds the folders of strategy
    files. A bar that follows a gap waits at most `gap_timeout_s` for the table to catch up, asked
    every `gap_poll_s`. A symbol silent for `sweep_s` is looked up in the table. Of several replicas
    each runs its share of the strategies; one that has not been seen for `lease_s` is dead, which
    is looked for every `lease_renew_s`. A strategy on many symbols waits `panel_wait_s` for the
    bars of a time. Strategies in Python, and those of folders that are not in `trusted_dirs`, step
    in processes of their own, which get `step_timeout_s` for a bar and may grow by
    `step_memory_mb`. Files of those folders are first loaded elsewhere: one that takes more than
    `load_timeout_s` of processor time, or memory or the process with it, is refused. What
    strategies have made is looked at every `review_s`.
    """

    port: int = Field(default=9102, ge=0, le=65535)
    strategies: tuple[Seed, ...] | None = None
    strategy_dirs: tuple[Path, ...] = (_BUILT_IN,)
    gap_timeout_s: float = Field(default=5.0, gt=0)
    gap_poll_s: float = Field(default=0.1, gt=0)
    sweep_s: float = Field(default=5.0, gt=0)
    history_rows_max: int = Field(default=5000, ge=100, le=100_000)
    pending_bars_max: int = Field(default=1000, ge=1)
    lease_s: float = Field(default=10.0, ge=1.0, le=25.0)
    panel_wait_s: float = Field(default=3.0, gt=0)
    trusted_dirs: tuple[Path, ...] = (_BUILT_IN,)
    step_timeout_s: float = Field(default=5.0, gt=0)
    step_memory_mb: int = Field(default=512, ge=16)
    load_timeout_s: float = Field(default=20.0, gt=0, le=25.0)
    review_s: float = Field(default=5.0, gt=0)
    lease_renew_s: float = Field(default=2.0, gt=0, le=5.0)

    @property
    def replica(self) -> str:
        """Return this replica's name: where it listens. Who restarts there is the same one."""
        where = f"{socket.gethostname()}:{self.port}"
        return where if self.port else f"{where}:{uuid.uuid4().hex[:12]}"

    @property
    def url(self) -> str:
        """Return where the other replicas reach this one."""
        everywhere = self.host in {"0.0.0.0", "::"}  # nosec B104 # compared, not bound
        return f"http://{socket.gethostname() if everywhere else self.host}:{self.port}"

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """Return the strategies of the first start."""
        return default_seeds(self.symbols) if self.strategies is None else self.strategies
