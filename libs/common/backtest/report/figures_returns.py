"""Plots of returns: by month and year, and their distribution."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from libs.common.backtest.report.figures import Figure
from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.series import numbers
from libs.common.backtest.report.words import escaped, figure
from libs.common.quant.metrics import monthly_returns

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun",
                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")  # fmt: skip
_BINS_MAX: Final = 80


def months(run: ReportInput) -> Figure | None:
    """Return the heat map of monthly returns, years downwards, None for less than two months."""
    at, earned = monthly_returns(run.days.ts, run.days.equity)
    if len(at) < 2:
        return None
    first = int(at[0]) // 12
    grid = np.full((int(at[-1]) // 12 - first + 1, 12), np.nan)
    grid[at // 12 - first, at % 12] = earned
    years = [str(1970 + first + i) for i in range(len(grid))]
    bound = float(np.nanquantile(np.abs(grid), 0.95)) or 0.01
    return {
        "data": [
            {
                "type": "heatmap",
                "x": list(MONTHS),
                "y": years,
                "z": [numbers(row, 4) for row in grid],
                "text": [[_cell(value) for value in row] for row in grid.tolist()],
                "texttemplate": "%{text}",
                "textfont": {"size": 10},
                "zmin": -bound,
                "zmid": 0,
                "zmax": bound,
                "colorscale": [[0, "$heatneg"], [0.5, "$heatmid"], [1, "$heatpos"]],
                "showscale": False,
                "xgap": 1,
                "ygap": 1,
                "hovertemplate": "%{x} %{y}: %{z:.2%}<extra></extra>",
            }
        ],
        "layout": {
            "height": max(220, 80 + 19 * len(years)),
            "margin": {"l": 56, "r": 16, "t": 48, "b": 8},
            "xaxis": {"type": "category", "side": "top", "showgrid": False},
            "yaxis": {"type": "category", "autorange": "reversed", "showgrid": False},
        },
    }


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.1f}".replace("-", "\N{MINUS SIGN}")


def yearly(run: ReportInput) -> Figure | None:
    """Return bars of yearly returns beside the benchmark's, None for less than two years."""
    bars = []
    named = [("strategy", run.days.equity, "$accent")]
    if run.day_benchmark is not None:
        named.append((run.benchmark_name, run.day_benchmark, "$muted"))
    for name, curve, color in named:
        at, earned = monthly_returns(run.days.ts, curve)
        years = np.unique(at // 12)
        if len(years) < 2:
            return None
        grown = [float(np.prod(1.0 + earned[at // 12 == year]) - 1.0) for year in years]
        bars.append(
            {
                "type": "bar",
                "x": [1970 + int(year) for year in years],
                "y": numbers(np.array(grown), 5),
                "name": escaped(name),
                "marker": {"color": color},
                "hovertemplate": "%{x}: %{y:.2%}<extra></extra>",
            }
        )
    return {
        "data": bars,
        "layout": {
            "barmode": "group",
            "bargap": 0.25,
            "xaxis": {"tickformat": "d", "showgrid": False},
            "yaxis": {"tickformat": ".0%"},
            "showlegend": len(bars) > 1,
        },
    }


def distribution(run: ReportInput) -> Figure | None:
    """Return the histogram of daily returns with the normal curve of their mean and deviation."""
    returns = run.day_returns[np.isfinite(run.day_returns)]
    if len(returns) < 20 or np.ptp(returns) <= 0.0:
        return None
    count = int(np.clip(2 * len(returns) ** (1 / 3) * 2, 10, _BINS_MAX))
    height, edges = np.histogram(returns, bins=count)
    middle = (edges[:-1] + edges[1:]) / 2
    mean, spread = float(returns.mean()), float(returns.std(ddof=1))
    bell = (
        len(returns)
        * (edges[1] - edges[0])
        * np.exp(-0.5 * ((middle - mean) / spread) ** 2)
        / (spread * math.sqrt(2 * math.pi))
    )
    worst = run.measured.var_historical
    return {
        "data": [
            {
                "type": "bar",
                "x": numbers(middle, 5),
                "y": height.tolist(),
                "name": "days",
                "marker": {"color": "$accent"},
                "hovertemplate": "%{x:.2%}: %{y} days<extra></extra>",
            },
            {
                "type": "scatter",
                "mode": "lines",
                "x": numbers(middle, 5),
                "y": numbers(bell, 5),
                "name": "normal",
                "line": {"color": "$muted", "width": 1.5},
                "hoverinfo": "skip",
            },
        ],
        "layout": {
            "bargap": 0.05,
            "xaxis": {"tickformat": ".1%", "title": {"text": "daily return"}},
            "yaxis": {"title": {"text": "days"}},
            "shapes": [_mark(worst)] if math.isfinite(worst) else [],
            "annotations": [_told(worst)] if math.isfinite(worst) else [],
        },
    }


def _mark(x: float) -> Figure:
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": "$neg", "width": 1, "dash": "dot"},
    }


def _told(x: float) -> Figure:
    return {
        "x": x,
        "yref": "paper",
        "y": 1,
        "yanchor": "top",
        "xanchor": "right",
        "showarrow": False,
        "text": f"VaR 95 % {figure(x, 'return')}",
        "font": {"size": 10, "color": "$neg"},
    }
