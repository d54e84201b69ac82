"""Which trials a sweep makes. Light to import, for the service reads it and runs none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from libs.common.backtest.errors import SpecError

VALUES_MAX: Final = 100_000
TRIALS_MAX: Final = 1_000_000
SPLITS_MAX: Final = 5_000
Method = Literal["grid", "random", "optuna"]


class Axis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of one parameter, in order."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,130}$")]
    values: Annotated[tuple[int | float, ...], Meta(min_length=1, max_length=VALUES_MAX)]


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which trials: all of the grid, or `trials` of it picked by chance or by Optuna.

    `metric` is what is to become large, one of the metrics' names. `returns`: keep the daily
    returns of each trial, so that the search itself can be judged.
    """

    axes: Annotated[tuple[Axis, ...], Meta(min_length=1, max_length=20)]
    method: Method = "grid"
    trials: Annotated[int, Meta(ge=1, le=TRIALS_MAX)] = 100
    metric: Annotated[str, Meta(pattern=r"^[a-z_]{1,64}$")] = "sharpe"
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 7
    returns: bool = False

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if len(set(names)) < len(names):
            raise ValueError(f"two axes have one name: {', '.join(names)}")
        if self.method == "grid" and self.size > TRIALS_MAX:
            raise ValueError(f"the grid has {self.size:,} points, at most {TRIALS_MAX:,} are tried")

    @property
    def size(self) -> int:
        """Return how many points the grid has."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def count(self) -> int:
        """Return how many trials the plan makes."""
        return self.size if self.method == "grid" else min(self.trials, self.size)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


class Steps(Struct, frozen=True, forbid_unknown_fields=True):
    """How a walk-forward goes, in bars: `train` teach, `test` judge, `purge` + `embargo` lie
    between them."""

    train: Annotated[int, Meta(ge=2)]
    test: Annotated[int, Meta(ge=1)]
    anchored: bool = False
    purge: Annotated[int, Meta(ge=0)] = 0
    embargo: Annotated[int, Meta(ge=0)] = 0


class Folds(Struct, frozen=True, forbid_unknown_fields=True):
    """How a combinatorial cross-validation cuts the days: every `chosen` of `groups` judge, the
    others teach but for the `horizon` days beside a judging group and `embargo` more after it."""

    groups: Annotated[int, Meta(ge=2, le=20)] = 6
    chosen: Annotated[int, Meta(ge=1, le=10)] = 2
    horizon: Annotated[int, Meta(ge=0)] = 0
    embargo: Annotated[int, Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.chosen >= self.groups:
            raise ValueError(f"chosen: must be less than the {self.groups} groups")
        if math.comb(self.groups, self.chosen) > SPLITS_MAX:
            raise ValueError(f"{self.groups} groups by {self.chosen} give over {SPLITS_MAX} splits")


def plan_of(data: Mapping[str, Any]) -> Plan:
    """Return the checked plan. Raises SpecError."""
    try:
        return msgspec.convert(data, Plan)
    except msgspec.ValidationError as error:
        raise SpecError(f"sweep: {error}") from error


def folds_of(groups: int, chosen: int, horizon: int, embargo: int) -> Folds:
    """Return the checked folds. Raises SpecError."""
    try:
        named = {"groups": groups, "chosen": chosen, "horizon": horizon, "embargo": embargo}
        return msgspec.convert(named, Folds)
    except msgspec.ValidationError as error:
        raise SpecError(f"cpcv: {error}") from error
