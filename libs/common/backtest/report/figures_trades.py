"""Plots of trades: what each gave, and which strategy and symbol earned what."""

from __future__ import annotations

from typing import Final

import numpy as np

from libs.common.backtest.report.figures import PALETTE, Figure, zero_line
from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.series import dates, numbers
from libs.common.backtest.report.words import day, escaped

TRADES_MAX: Final = 2_000
SYMBOLS_MAX: Final = 30


def trades(run: ReportInput) -> Figure | None:
    """Return the profit of each closed trade at its end; of many only the largest 2 000."""
    every = run.trades
    if len(every) == 0:
        return None
    largest = np.argsort(-np.abs(every["profit"]), kind="stable")[:TRADES_MAX]
    shown = every[np.sort(largest)]
    groups = []
    for name, color, wins in (("won", "$pos", True), ("lost", "$neg", False)):
        part = shown[(shown["profit"] > 0.0) == wins]
        groups.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": dates(part["exit_ts"]),
                "y": numbers(part["profit"], 6),
                "text": [_story(run, trade) for trade in part],
                "name": name,
                "marker": {"color": color, "size": 5, "opacity": 0.65},
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return {
        "data": groups,
        "layout": {"shapes": [zero_line()], "yaxis": {"title": {"text": "profit"}}},
    }


def _story(run: ReportInput, trade: np.void) -> str:
    symbol = escaped(run.symbols[trade["symbol"]])
    sleeve = escaped(run.sleeves[trade["sleeve"]]) if run.sleeves else ""
    side = "long" if trade["side"] > 0 else "short"
    return (
        f"<b>{symbol}</b> {side} {trade['quantity']:,g}, {sleeve}<br>"
        f"{day(trade['entry_ts'])} at {trade['entry_price']:,.2f} to "
        f"{day(trade['exit_ts'])} at {trade['exit_price']:,.2f}<br>"
        f"profit {trade['profit']:,.2f}"
    )


def contributions(run: ReportInput) -> Figure | None:
    """Return money earned by symbol, a colour for each strategy; of many symbols the extremes."""
    earned, _ = run.contributions()
    if earned.size == 0 or not earned.any():
        return None
    total = earned.sum(axis=0)
    order = np.argsort(total)
    if len(order) > SYMBOLS_MAX:
        half = SYMBOLS_MAX // 2
        order = np.concatenate([order[:half], order[-half:]])
    names = [escaped(run.symbols[i]) for i in order]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "y": names,
            "x": numbers(earned[k, order], 6),
            "name": escaped(sleeve),
            "marker": {"color": PALETTE[k % len(PALETTE)]},
            "hovertemplate": "%{y}: %{x:,.0f}<extra></extra>",
        }
        for k, sleeve in enumerate(run.sleeves or ("strategy",))
    ]
    return {
        "data": bars,
        "layout": {
            "barmode": "relative",
            "height": max(220, 70 + 19 * len(names)),
            "yaxis": {"type": "category", "showgrid": False},
            "xaxis": {"title": {"text": "money earned"}},
            "showlegend": len(bars) > 1,
        },
    }
