"""Arrays as what a browser can take: fewer points, dates as text, no NaN."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

POINTS_MAX: Final = 4_000
_DAY_NS: Final = 86_400_000_000_000


def thinned(values: npt.NDArray[np.float64], points: int = POINTS_MAX) -> npt.NDArray[np.int64]:
    """Return indices of at most about `points` of n values that draw the same line.

    First, last, lowest and highest of each of points / 4 stretches, so that no peak is lost; all
    where there are not more than `points`.

    Source: U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl, M4: A Visualization-Oriented Time
    Series Data Aggregation, VLDB 7 (2014).
    """
    n = len(values)
    if n <= points:
        return np.arange(n)
    edges = np.linspace(0, n, max(points // 4, 1) + 1).astype(np.int64)
    kept = [edges[:-1], edges[1:] - 1]
    filled = np.where(np.isnan(values), 0.0, values)
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = filled[begin:end]
        kept.append(np.array([begin + int(part.argmin()), begin + int(part.argmax())]))
    return np.unique(np.concatenate(kept))


def dates(ts: npt.NDArray[np.int64]) -> list[str]:
    """Return ns times as text: days where all are midnights, else to the second."""
    times = np.asarray(ts, np.int64).astype("datetime64[ns]")
    whole = not np.any(np.asarray(ts) % _DAY_NS)
    text: list[str] = np.datetime_as_string(times, unit="D" if whole else "s").tolist()
    return text


def numbers(values: npt.NDArray[Any], digits: int = 7) -> list[float | None]:
    """Return floats with `digits` significant digits, None for NaN and infinity."""
    return [
        float(f"{value:.{digits}g}") if math.isfinite(value) else None
        for value in np.asarray(values, np.float64).tolist()
    ]
