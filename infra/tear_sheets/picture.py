"""Equity and drawdown as a drawing that looks the same each time it is made."""

from __future__ import annotations

import io
import re
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

INK: Final = "#5b6472"
OWN: Final = "#2f6db5"
OTHER: Final = "#b0b7c1"
LOSS: Final = "#c0504d"
_POINTS: Final = 700
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "tradewind",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def picture(
    ts: np.ndarray, equity: np.ndarray, other_ts: np.ndarray, other: np.ndarray, label: str
) -> str:
    """Return an SVG: both curves from 1 on, and the drawdown of the first.

    `ts` ns since the epoch (UTC), shape (n,), `equity` (n,) in money; `other` likewise, of what
    `label` names.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        figure.patch.set_alpha(0.0)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for axes in (upper, lower):
            axes.patch.set_alpha(0.0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", alpha=0.25)
        upper.plot(*_thin(other_ts, other / other[0]), color=OTHER, lw=1.1, label=label)
        upper.plot(*_thin(ts, equity / equity[0]), color=OWN, lw=1.3, label="strategy")
        if max(equity.max() / equity[0], other.max() / other[0]) > 3.0:
            upper.set_yscale("log")
            upper.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        upper.set_ylabel("growth of 1")
        upper.legend(frameon=False, loc="upper left")
        drawdown = equity / np.maximum.accumulate(equity) - 1.0
        lower.fill_between(*_thin(ts, 100.0 * drawdown), color=LOSS, alpha=0.5, lw=0)
        lower.set_ylabel("drawdown, %")
        out = io.StringIO()
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return re.sub(r"[ \t]+\n", "\n", out.getvalue())


def _thin(ts: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about `_POINTS` of the points, the last among them."""
    every = max(1, len(ts) // _POINTS)
    places = np.unique(np.append(np.arange(0, len(ts), every), len(ts) - 1))
    return ts[places].astype("M8[ns]"), values[places]
