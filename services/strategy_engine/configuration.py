"""What is to run: strategy, parameters, universe, timeframe, mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, model_validator

from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.strategy.registry import Registry
from services.strategy_engine.performance import OwnLimits


def _distinct(symbols: tuple[str, ...]) -> tuple[str, ...]:
    repeated = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if repeated:
        raise ValueError(f"named twice: {', '.join(repeated)}")
    return symbols


NO_LIMITS: Final = OwnLimits()
Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./-]{0,31}$")]
Universe = Annotated[
    tuple[Symbol, ...], Field(min_length=1, max_length=1000), AfterValidator(_distinct)
]
Weight = Annotated[Decimal, Field(gt=0, lt=100, max_digits=8, decimal_places=6)]
Given = Annotated[dict[str, Any], Field(max_length=200)]
"""Parameters as typed; the strategy's schema says what is wrong with them."""


class Seed(BaseModel):
    """A strategy as the settings give it at first start, when the table is empty."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z0-9_.:-]{1,64}$")
    class_name: str = Field(pattern=r"^[a-z0-9_]{1,64}$")
    universe: Universe
    params: Given = Field(default_factory=dict)
    timeframe: Timeframe = Timeframe.MINUTE
    weight: Weight = Decimal(1)
    mode: StrategyMode = StrategyMode.LIVE
    limits: OwnLimits = NO_LIMITS


class NewStrategy(Seed):
    """A strategy that is added while the engine runs: it only records until it is switched live."""

    mode: StrategyMode = StrategyMode.SHADOW


class Change(BaseModel):
    """What is to be different of a strategy; what is left away stays.

    `params` are laid over the present ones; a null takes a parameter back to its default. `limits`
    take the place of all present ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    params: Given | None = None
    universe: Universe | None = None
    weight: Weight | None = None
    mode: StrategyMode | None = None
    enabled: StrictBool | None = None
    limits: OwnLimits | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError(f"nothing to change; give {', '.join(type(self).model_fields)}")
        return self


@dataclass(frozen=True, slots=True)
class Version:
    """What a strategy ran before the last swap."""

    class_name: str
    params: Mapping[str, object]
    version_hash: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """One row of `strategies`. `class_name` is the strategy's name in the registry; `previous` is
    what a roll-back leads back to."""

    id: str
    class_name: str
    version_hash: str
    params: Mapping[str, object]
    universe: tuple[str, ...]
    timeframe: Timeframe
    weight: Decimal
    enabled: bool
    mode: StrategyMode
    limits: OwnLimits = NO_LIMITS
    previous: Version | None = None

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
        limits=seed.limits,
    )


def changed(before: Configuration, change: Change) -> Configuration:
    """Return `before` with `change` made to it."""
    params = {**before.params, **(change.params or {})}
    return dataclasses.replace(
        before,
        params={name: value for name, value in params.items() if value is not None},
        universe=change.universe or before.universe,
        weight=change.weight or before.weight,
        mode=change.mode or before.mode,
        limits=before.limits if change.limits is None else change.limits,
        enabled=before.enabled if change.enabled is None else change.enabled,
    )


def differences(before: Configuration, after: Configuration) -> dict[str, str]:
    """Return what differs, by field, as `from -> to`."""
    names = ("params", "universe", "weight", "mode", "enabled", "limits")
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    return {name: f"{_word(a)} -> {_word(b)}" for name, (a, b) in pairs.items() if a != b}


def _word(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
