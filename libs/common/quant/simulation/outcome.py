"""What came of a simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of money over the whole simulation. `commission` includes taxes; `interest` is what cash
    earned less what it cost; `borrow` the fees for borrowed shares; `idle` counts signals that
    left nothing to trade."""

    traded: float
    commission: float
    slippage: float
    interest: float
    borrow: float
    dividends: float
    idle: int


@dataclass(frozen=True)
class Outcome:
    """Curves at each time of the market (shape (T,)), and logs by time.

    `ts` i8 is the start of the bars, the values are after their closes: `equity` = `cash` +
    `exposure_long` - `exposure_short` (value of long and of short positions, both positive), f8, in
    the account's currency. `fills` FILL, `trades` TRADE (round trips that ended), `refused`
    REFUSAL. `positions` (S,) f8: shares held in the end, `held` (sleeves, S) f8 the same by sleeve.
    """

    symbols: tuple[str, ...]
    sleeves: tuple[str, ...]
    ts: np.ndarray
    equity: np.ndarray
    cash: np.ndarray
    exposure_long: np.ndarray
    exposure_short: np.ndarray
    fills: np.ndarray
    trades: np.ndarray
    refused: np.ndarray
    positions: np.ndarray
    held: np.ndarray
    totals: Totals
