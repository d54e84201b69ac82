"""Small markets and signals for tests of the simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.models import Models
from libs.common.quant.simulation.outcome import Outcome
from libs.common.quant.simulation.records import BAR, SIGNAL
from libs.common.quant.simulation.sleeves import Method, Sizing, Sleeve

DAY = 86_400 * 10**9


def bars(rows: Sequence[Sequence[float]], volume: float = 1e6, step: int = DAY) -> np.ndarray:
    """Return bars from rows of open, high, low, close and, if wanted, volume."""
    table = np.zeros(len(rows), BAR)
    table["ts"] = (1 + np.arange(len(rows))) * step
    for i, row in enumerate(rows):
        values = (*row, volume)[:5]
        for name, value in zip(("open", "high", "low", "close", "volume"), values, strict=True):
            table[i][name] = value
    return table


def flat(*prices: float) -> np.ndarray:
    """Return bars that do not move within: open = high = low = close."""
    return bars([(p, p, p, p) for p in prices])


def signals(*rows: dict[str, Any]) -> np.ndarray:
    """Return signals; `index` and `target` must be given."""
    table = np.zeros(len(rows), SIGNAL)
    for name in ("stop", "take_profit", "limit"):
        table[name] = np.nan
    table["confidence"] = 1.0
    for record, row in zip(table, rows, strict=True):
        for name, value in row.items():
            record[name] = value
    return table


def run_one(
    table: np.ndarray,
    *rows: dict[str, Any],
    shares: float = 100.0,
    models: Models | None = None,
    **market: Any,
) -> Outcome:
    """Return what one sleeve of fixed `shares` comes to on one symbol, X."""
    sleeve = Sleeve("one", {"X": signals(*rows)}, Sizing(Method.FIXED_QUANTITY, shares))
    return execute(Market.of({"X": table}, **market), [sleeve], models or Models())


def fills_of(outcome: Outcome) -> list[tuple[int, float, float]]:
    """Return bar, signed quantity and price of every fill."""
    return [
        (int(f["bar"]), float(f["side"] * f["quantity"]), float(f["price"])) for f in outcome.fills
    ]
