"""A sleeve: one strategy's signals on its symbols, and how it sizes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from libs.common.quant.simulation.records import SIGNAL


class Method(StrEnum):
    """How a target becomes a quantity; the words are `domain.sizing.SizingMethod`'s."""

    PERCENT_OF_EQUITY = "percent_of_equity"
    FIXED_NOTIONAL = "fixed_notional"
    FIXED_QUANTITY = "fixed_quantity"
    VOLATILITY_TARGET = "volatility_target"


METHODS = tuple(Method)


@dataclass(frozen=True, slots=True)
class Sizing:
    """A method and its figure for target 1: a share of equity, money, shares, or the wished
    annual volatility. `weight_max` caps the share of equity that a volatility target may take."""

    method: Method = Method.PERCENT_OF_EQUITY
    figure: float = 0.10
    weight_max: float = 0.10

    def __post_init__(self) -> None:
        """Raise ValueError for figures that are not positive numbers."""
        for name, value in (("figure", self.figure), ("weight_max", self.weight_max)):
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"sizing: {name} must be above 0, got {value!r}")


@dataclass(frozen=True, slots=True)
class Sleeve:
    """One strategy in the portfolio.

    `signals`: per symbol an array of SIGNAL, by rising `index`, which counts the symbol's bars in
    the market. `weight` scales every target. Positions are kept per sleeve and symbol, so two
    sleeves may hold one symbol against each other.
    """

    name: str
    signals: Mapping[str, np.ndarray]
    sizing: Sizing = field(default_factory=Sizing)
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError for a weight that is not a positive number or arrays of another kind."""
        if not (math.isfinite(self.weight) and self.weight > 0.0):
            raise ValueError(f"sleeve {self.name}: weight must be above 0, got {self.weight!r}")
        for symbol, array in self.signals.items():
            if array.dtype != SIGNAL or array.ndim != 1:
                raise ValueError(
                    f"sleeve {self.name}: {symbol}: signals must be a one-dimensional array of "
                    f"SIGNAL, got {array.dtype} with {array.ndim} dimensions"
                )
