"""The tables of a tear sheet: metrics, drawdowns, crises, trades, what was run."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Final

import numpy as np

from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.words import DASH, day, escaped, figure, table
from libs.common.quant.metrics import CATALOGUE
from libs.common.quant.metrics.drawdowns import drawdowns

ROWS: Final = 10
_HEADLINES: Final = (
    ("cagr", "return", "CAGR"),
    ("sharpe", "ratio", "Sharpe"),
    ("sortino", "ratio", "Sortino"),
    ("max_drawdown", "return", "Max drawdown"),
    ("annual_volatility", "return", "Volatility"),
    ("hit_rate", "share", "Hit rate"),
    ("profit_factor", "ratio", "Profit factor"),
)


def headlines(run: ReportInput) -> str:
    """Return the few figures that are read first."""
    cells = [("Total return", figure(run.measured.total_return, "return"))]
    cells += [(label, figure(getattr(run.measured, n), u)) for n, u, label in _HEADLINES]
    cells.append(("Trades", figure(run.measured.trades, "count")))
    items = "".join(
        f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in cells
    )
    return f'<dl class="figures">{items}</dl>'


def metrics(run: ReportInput) -> str:
    """Return every metric, by group."""
    parts = []
    for group, entries in groupby(CATALOGUE, lambda entry: entry.group):
        rows = [(e.label, figure(getattr(run.measured, e.name), e.unit)) for e in entries]
        parts.append(f"<div><h3>{escaped(group)}</h3>{table(('', ''), rows, numeric=(1,))}</div>")
    return f'<div class="columns">{"".join(parts)}</div>'


def worst_drawdowns(run: ReportInput) -> str:
    """Return the deepest falls of the daily curve with their dates."""
    falls = sorted(drawdowns(run.days.equity), key=lambda fall: fall.depth)[:ROWS]
    ts = run.days.ts
    rows = [
        (
            day(ts[fall.peak]),
            day(ts[fall.trough]),
            day(ts[fall.end]) if fall.end >= 0 else DASH,
            figure(fall.depth, "return"),
            figure((int(ts[fall.end]) - int(ts[fall.peak])) / 86_400e9, "days"),
        )
        for fall in falls
    ]
    return table(("peak", "trough", "recovered", "depth", "length"), rows, numeric=(3, 4))


def crises(run: ReportInput) -> str:
    """Return what the run, and its benchmark, did in the bad times that it went through."""
    rows = []
    for ours, other in run.crises:
        one = ours.crisis
        row = [one.name, f"{one.first} to {one.last}", figure(ours.total_return, "return"),
               figure(ours.max_drawdown, "return")]  # fmt: skip
        rows.append([*row, figure(other.total_return, "return")] if other else row)
    head = ["crisis", "from close to close", "return", "drawdown"]
    if run.day_benchmark is not None:
        head.append(run.benchmark_name)
    return table(head, rows, numeric=range(2, len(head)))


def largest_trades(run: ReportInput) -> str:
    """Return the trades that won and lost most."""
    every = run.trades
    order = np.argsort(every["profit"], kind="stable")
    half = ROWS // 2
    picked = order if len(order) <= ROWS else np.concatenate([order[:half], order[-half:]])
    rows = []
    for trade in every[picked[::-1]]:
        rows.append(
            (
                run.symbols[trade["symbol"]],
                "long" if trade["side"] > 0 else "short",
                day(trade["entry_ts"]),
                day(trade["exit_ts"]),
                f"{trade['entry_price']:,.2f}",
                f"{trade['exit_price']:,.2f}",
                figure(trade["profit"], "count"),
            )
        )
    head = ("symbol", "side", "entry", "exit", "in at", "out at", "profit")
    return table(head, rows, numeric=(4, 5, 6))


def named(values: Mapping[str, object]) -> str:
    """Return names and values as they are."""
    return table(("", ""), [(name, str(value)) for name, value in values.items()])
