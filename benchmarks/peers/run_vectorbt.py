"""vectorbt: orders as arrays."""

from __future__ import annotations

import sys

import numpy as np
import vectorbt as vbt
from clock import CASH, FEE, SHARES, frame, panel, report, wanted


def crossover() -> tuple[int, float]:
    """Return fills and final equity of the crossover on one symbol."""
    target = wanted(BARS["Close"]).shift(1).fillna(0.0) * SHARES
    size = target.diff().fillna(0.0).replace(0.0, np.nan)
    made = vbt.Portfolio.from_orders(
        BARS["Close"], size=size, price=BARS["Open"], fees=FEE, init_cash=CASH
    )
    if WORK == "whole":
        print(made.stats())
    return len(made.orders.records), made.final_value()


def sweep() -> tuple[int, float]:
    """Return fills and the sum of final equities of all pairs."""
    pairs = [(fast, slow) for fast in range(5, 25) for slow in range(30, 130, 10)]
    target = np.column_stack([wanted(BARS["Close"], *pair).to_numpy() for pair in pairs]) * SHARES
    target = np.vstack([np.zeros(target.shape[1]), target[:-1]])
    size = np.diff(target, axis=0, prepend=0.0)
    size[size == 0.0] = np.nan
    made = vbt.Portfolio.from_orders(
        BARS["Close"], size=size, price=BARS["Open"], fees=FEE, init_cash=CASH
    )
    return len(made.orders.records), float(made.final_value().sum())


def monthly() -> tuple[int, float]:
    """Return fills and final equity of the monthly equal weight."""
    size = np.full(CLOSE.shape, np.nan)
    size[21::21] = 0.99 / CLOSE.shape[1]
    made = vbt.Portfolio.from_orders(
        CLOSE, size=size, size_type="targetpercent", price=OPEN, val_price=CLOSE.shift(1),
        fees=FEE, init_cash=CASH, cash_sharing=True, group_by=True, call_seq="auto",
    )  # fmt: skip
    return len(made.orders.records), float(made.final_value())


WORK = sys.argv[1]
if WORK == "W4":
    OPEN, CLOSE = panel("open"), panel("close")
else:
    BARS = frame()
report({"W3": sweep, "W4": monthly}.get(WORK, crossover), 1 if WORK in ("W3", "whole") else 3)
