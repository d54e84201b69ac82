"""How far and how long below the peak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.common.quant.metrics.measure import Floats, measure

DAY_NS: Final = 86_400_000_000_000


def drawdown_series(equity: Floats) -> Floats:
    """Return equity / its highest value so far - 1, shape (n,), 0 at a peak, else negative.

    NaN before the first positive value, and where equity is NaN. 100, 120, 90 -> 0, 0, -0.25.

    Source: Bacon (2008), chapter 4.
    Peer: ffn.to_drawdown_series.
    """
    equity = np.asarray(equity, np.float64)
    peak = np.fmax.accumulate(equity) if len(equity) else equity
    with np.errstate(all="ignore"):
        return np.where(peak > 0.0, equity / peak - 1.0, np.nan)


@measure(1)
def max_drawdown(equity: Floats) -> Any:
    """The deepest fall from a peak, as a return: -0.25 is a quarter of the peak.

    0 if equity never fell; below -1 if it went negative.

    Source: Bacon (2008), chapter 4, "maximum drawdown".
    Peer: quantstats.stats.max_drawdown, ffn.calc_max_drawdown.
    """
    return drawdown_series(equity).min()


@measure(1)
def ulcer_index(equity: Floats) -> Any:
    """Root of the mean squared drawdown, over all points: 0.05 is 5 %.

    Source: P. G. Martin, B. B. McCann, The Investor's Guide to Fidelity Funds (1989).
    Peer: ffn.to_ulcer_index / 100. quantstats divides by n - 1 instead of n.
    """
    return np.sqrt(np.mean(drawdown_series(equity) ** 2))


@dataclass(frozen=True, slots=True)
class Drawdown:
    """One fall from a peak. Indices into the curve; `end` is where the peak was reached again,
    -1 if it was not. `depth` as a return."""

    peak: int
    trough: int
    end: int
    depth: float


def drawdowns(equity: Floats) -> tuple[Drawdown, ...]:
    """Return all falls in order of time; none for a curve with a NaN or nothing positive."""
    under = drawdown_series(equity)
    if len(under) == 0 or np.isnan(under).any():
        return ()
    below = np.concatenate([[False], under < 0.0, [False]])
    firsts = np.flatnonzero(~below[:-1] & below[1:])
    stops = np.flatnonzero(below[:-1] & ~below[1:])
    found = []
    for first, stop in zip(firsts.tolist(), stops.tolist(), strict=True):
        trough = first + int(np.argmin(under[first:stop]))
        end = stop if stop < len(under) else -1
        found.append(Drawdown(first - 1, trough, end, float(under[trough])))
    return tuple(found)


def longest_drawdown_days(equity: Floats, ts: npt.NDArray[np.int64]) -> float:
    """The longest time from a peak until it was reached again (or the last point), in days.

    Days of 24 hours by the calendar; 0 if equity never fell, NaN if a value is NaN.

    Source: Bacon (2008), chapter 4, "drawdown duration".
    Peer: ffn.drawdown_details, whose start is the point after the peak.
    """
    if len(equity) == 0 or np.isnan(drawdown_series(equity)).any():
        return float("nan")
    spans = [int(ts[d.end]) - int(ts[d.peak]) for d in drawdowns(equity)]
    return max(spans, default=0) / DAY_NS


def recovery_days(equity: Floats, ts: npt.NDArray[np.int64]) -> float:
    """Days from the trough of the deepest fall until its peak was reached again.

    NaN if it has not been, or if equity never fell.

    Source: Bacon (2008), chapter 4, "recovery time".
    Peer: quantstats.stats.drawdown_details (`end` is the point before ours, `valley` the trough).
    """
    falls = drawdowns(equity)
    if not falls:
        return float("nan")
    deepest = min(falls, key=lambda fall: fall.depth)
    if deepest.end < 0:
        return float("nan")
    return (int(ts[deepest.end]) - int(ts[deepest.trough])) / DAY_NS
