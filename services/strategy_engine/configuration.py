"""What is to run: strategy, parameters, universe, timeframe, mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.strategy.registry import Registry


class Seed(BaseModel):
    """A strategy as the settings give it at first start, when the table is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9_.:-]{1,64}$")
    class_name: str = Field(pattern=r"^[a-z0-9_]{1,64}$")
    universe: tuple[str, ...] = Field(min_length=1, max_length=1000)
    params: dict[str, int | float] = Field(default_factory=dict)
    timeframe: Timeframe = Timeframe.MINUTE
    weight: Decimal = Field(default=Decimal(1), gt=0, le=100)
    mode: StrategyMode = StrategyMode.LIVE


@dataclass(frozen=True, slots=True)
class Configuration:
    """One row of `strategies`. `class_name` is the strategy's name in the registry."""

    id: str
    class_name: str
    version_hash: str
    params: Mapping[str, object]
    universe: tuple[str, ...]
    timeframe: Timeframe
    weight: Decimal
    enabled: bool
    mode: StrategyMode

    @property
    def span_ns(self) -> int:
        """Return the length of a bar."""
        return self.timeframe.ns


def default_seeds(symbols: Sequence[str]) -> tuple[Seed, ...]:
    """Return what runs where nothing else is said.

    `sma_cross` on the first half of `symbols`, `rsi_reversion` on the rest, both live on 1m.
    """
    half = (len(symbols) + 1) // 2
    halves = (("sma_cross", symbols[:half]), ("rsi_reversion", symbols[half:]))
    return tuple(
        Seed(id=name, class_name=name, universe=tuple(part)) for name, part in halves if part
    )


def configuration_of(seed: Seed, registry: Registry) -> Configuration:
    """Return the row of a seed; its version is empty where the strategy is not known."""
    loaded = registry.strategies.get(seed.class_name)
    return Configuration(
        id=seed.id,
        class_name=seed.class_name,
        version_hash=loaded.version_hash if loaded else "",
        params=seed.params,
        universe=seed.universe,
        timeframe=seed.timeframe,
        weight=seed.weight,
        enabled=True,
        mode=seed.mode,
    )
