"""Plots of curves: equity with drawdown, rolling Sharpe, exposure. Plain dicts for plotly.js.

Colours are names ($accent, …) that the page replaces by those of its theme.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from libs.common.backtest.report.report_input import Floats, ReportInput
from libs.common.backtest.report.series import dates, numbers, thinned
from libs.common.backtest.report.words import escaped
from libs.common.quant.metrics.drawdowns import drawdown_series
from libs.common.quant.metrics.ratios import rolling_sharpe

Figure = dict[str, Any]

PALETTE: Final = ("$accent", "$second", "$third", "$fourth", "$fifth", "$sixth")
ROLLING_DAYS: Final = 126


def line(x: list[str], y: Floats, name: str, color: str, **more: Any) -> Figure:
    """Return a line; `name` is any text."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": numbers(y),
        "name": escaped(name),
        "line": {"color": color, "width": 1.5},
        **more,
    }


def equity(run: ReportInput) -> Figure:
    """Return equity, its benchmark scaled to the same start, and the drawdown below them."""
    kept = thinned(run.equity)
    x = dates(run.ts[kept])
    traces = [line(x, run.equity[kept], "equity", "$accent")]
    if run.benchmark is not None and len(run.benchmark):
        scaled = scaled_to(run.benchmark, run.equity[0])
        traces.append(line(x, scaled[kept], run.benchmark_name, "$muted"))
    under = drawdown_series(run.equity)
    low = thinned(under)
    traces.append(
        line(
            dates(run.ts[low]),
            under[low],
            "drawdown",
            "$neg",
            fill="tozeroy",
            fillcolor="$negfill",
            yaxis="y2",
            showlegend=False,
            hovertemplate="%{y:.2%}<extra>drawdown</extra>",
        )
    )
    return {"data": traces, "layout": curve_layout("equity")}


def scaled_to(values: Floats, start: float) -> Floats:
    """Return `values` times what makes the first of them `start`."""
    values = np.asarray(values, np.float64)
    return values * (start / values[0]) if len(values) and values[0] else values


def curve_layout(title: str) -> Figure:
    """Return the layout of a curve above its drawdown, with a switch to a logarithmic axis."""
    buttons = [
        {"label": kind, "method": "relayout", "args": [{"yaxis.type": kind}]}
        for kind in ("linear", "log")
    ]
    menu = {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 0.8,
        "xanchor": "right",
        "y": 1.02,
        "yanchor": "bottom",
        "showactive": False,
        "pad": {"t": 0, "b": 4},
    }
    return {
        "height": 520,
        "hovermode": "x unified",
        "xaxis": {"anchor": "y2"},
        "yaxis": {"domain": [0.32, 1.0], "title": {"text": title}},
        "yaxis2": {"domain": [0.0, 0.26], "tickformat": ".0%", "title": {"text": "drawdown"}},
        "updatemenus": [menu],
    }


def rolling(run: ReportInput) -> Figure | None:
    """Return the Sharpe ratio of the last 126 days, None for a shorter run."""
    if len(run.day_returns) < 2 * ROLLING_DAYS:
        return None
    values = rolling_sharpe(run.day_returns, ROLLING_DAYS, run.measured.periods)
    kept = thinned(values)[1:]
    kept = kept[kept >= ROLLING_DAYS - 1]
    x = dates(run.days.ts[1:][kept])
    return {
        "data": [line(x, values[kept], "rolling Sharpe", "$accent")],
        "layout": {"shapes": [zero_line()], "showlegend": False},
    }


def zero_line() -> Figure:
    """Return a thin line at y = 0."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": 0,
        "line": {"color": "$muted", "width": 1},
    }


def exposure(run: ReportInput) -> Figure | None:
    """Return long, short and net exposure as a share of equity, None where not given."""
    if not len(run.exposure_long) and not len(run.exposure_short):
        return None
    nothing = np.zeros(len(run.ts))
    long = run.exposure_long if len(run.exposure_long) else nothing
    short = run.exposure_short if len(run.exposure_short) else nothing
    with np.errstate(all="ignore"):
        up, down = (np.where(run.equity > 0, e / run.equity, np.nan) for e in (long, -short))
    kept = thinned(up + down)
    x = dates(run.ts[kept])
    traces = [
        line(x, up[kept], "long", "$pos", fill="tozeroy", fillcolor="$posfill"),
        line(x, down[kept], "short", "$neg", fill="tozeroy", fillcolor="$negfill"),
        line(x, (up + down)[kept], "net", "$ink"),
    ]
    shown = traces if short.any() else traces[:1]
    return {
        "data": shown,
        "layout": {
            "hovermode": "x unified",
            "yaxis": {"tickformat": ".0%"},
            "showlegend": len(shown) > 1,
        },
    }
