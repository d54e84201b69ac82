"""Several runs side by side: curves from a common start, metrics in columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from libs.common.backtest.report.figures import (
    PALETTE,
    ROLLING_DAYS,
    Figure,
    curve_layout,
    line,
    scaled_to,
    zero_line,
)
from libs.common.backtest.report.page import Plot, card, columns, page, plotted
from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.series import dates, thinned
from libs.common.backtest.report.words import day, escaped, figure, table
from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics import CATALOGUE
from libs.common.quant.metrics.benchmark import correlation
from libs.common.quant.metrics.drawdowns import drawdown_series
from libs.common.quant.metrics.ratios import rolling_sharpe

RUNS_MAX = len(PALETTE)


def _checked(runs: Sequence[ReportInput]) -> None:
    if not 2 <= len(runs) <= RUNS_MAX:
        raise InvalidInputError(f"compare: needs 2 to {RUNS_MAX} runs, got {len(runs)}")
    empty = [run.title for run in runs if len(run.ts) == 0]
    if empty:
        raise InvalidInputError(f"compare: {empty[0]} has no bars")


def _labels(runs: Sequence[ReportInput]) -> list[str]:
    """Return titles, numbered where two are the same."""
    titles = [run.title for run in runs]
    return [
        f"{title} ({i + 1})" if titles.count(title) > 1 else title for i, title in enumerate(titles)
    ]


def render_comparison(runs: Sequence[ReportInput]) -> str:
    """Return one HTML file of 2 to 6 runs. Raises InvalidInputError for fewer, more, or empty."""
    _checked(runs)
    labels = _labels(runs)
    plots = [
        Plot("equity", "Growth and drawdown", _curves(runs, labels),
             "Each run's equity over its own first.", wide=True),
        Plot("rolling", "Rolling Sharpe", _rolling(runs, labels), "Last 126 days, a year.",
             wide=True),
    ]  # fmt: skip
    pair = [
        card("Correlation of daily returns", _correlations(runs, labels), 0,
             note="Of the days that two runs have in common."),
        card("What differs", _params(runs, labels), 0),
    ]  # fmt: skip
    parts = [
        plotted(plots[0]).html,
        card("Metrics", _metrics(runs, labels), 0, wide=True).html,
        plotted(plots[1]).html,
        columns(pair),
    ]
    first = min(int(run.ts[0]) for run in runs)
    last = max(int(run.ts[-1]) for run in runs)
    title = " beside ".join(labels)
    header = f'<h1>{escaped(title)}</h1><p class="sub">{day(first)} to {day(last)}</p>'
    return page(title, header, "".join(parts), {plot.name: plot.figure for plot in plots})


def _curves(runs: Sequence[ReportInput], labels: Sequence[str]) -> Figure:
    traces = []
    for run, label, color in zip(runs, labels, PALETTE, strict=False):
        growth = scaled_to(run.days.equity, 1.0)
        kept = thinned(growth)
        x = dates(run.days.ts[kept])
        traces.append(line(x, growth[kept], label, color, legendgroup=label))
        under = drawdown_series(run.days.equity)
        more: dict[str, Any] = {"yaxis": "y2", "showlegend": False, "legendgroup": label}
        traces.append(line(x, under[kept], label, color, **more))
    return {"data": traces, "layout": curve_layout("growth of 1")}


def _rolling(runs: Sequence[ReportInput], labels: Sequence[str]) -> Figure:
    traces = []
    for run, label, color in zip(runs, labels, PALETTE, strict=False):
        values = rolling_sharpe(run.day_returns, ROLLING_DAYS, run.measured.periods)
        kept = thinned(values)
        traces.append(line(dates(run.days.ts[1:][kept]), values[kept], label, color))
    return {"data": traces, "layout": {"shapes": [zero_line()], "hovermode": "x unified"}}


def _metrics(runs: Sequence[ReportInput], labels: Sequence[str]) -> str:
    parts = []
    for group, entries in groupby(CATALOGUE, lambda entry: entry.group):
        rows = [
            [entry.label, *(figure(getattr(run.measured, entry.name), entry.unit) for run in runs)]
            for entry in entries
        ]
        parts.append(table([group, *labels], rows, numeric=range(1, len(labels) + 1), even=True))
    return "".join(parts)


def correlations(runs: Sequence[ReportInput]) -> np.ndarray:
    """Return correlations of daily returns on common days, shape (runs, runs); NaN undefined."""
    days = [dict(zip((r.days.ts[1:] // 86_400_000_000_000).tolist(), r.day_returns, strict=True))
            for r in runs]  # fmt: skip
    found = np.eye(len(runs))
    for i, one in enumerate(days):
        for j, other in enumerate(days[:i]):
            common = sorted(one.keys() & other.keys())
            both = np.array([[one[d], other[d]] for d in common]).reshape(-1, 2).T
            found[i, j] = found[j, i] = correlation(both[0], both[1])
    return found


def _correlations(runs: Sequence[ReportInput], labels: Sequence[str]) -> str:
    rows = [
        [label, *(figure(value, "ratio") for value in row)]
        for label, row in zip(labels, correlations(runs).tolist(), strict=True)
    ]
    return table(["", *labels], rows, numeric=range(1, len(labels) + 1))


def _differing(runs: Sequence[ReportInput]) -> dict[str, list[str]]:
    names = list(dict.fromkeys(name for run in runs for name in (*run.params, *run.facts)))
    every = {
        name: [str({**run.facts, **run.params}.get(name, "")) for run in runs] for name in names
    }
    return {name: values for name, values in every.items() if len(set(values)) > 1}


def _params(runs: Sequence[ReportInput], labels: Sequence[str]) -> str:
    rows = [[name, *values] for name, values in _differing(runs).items()]
    return table(["", *labels], rows)


def comparison_json(runs: Sequence[ReportInput]) -> dict[str, Any]:
    """Return metrics by run, the parameters that differ, and the correlations, as JSON data."""
    _checked(runs)
    labels = _labels(runs)
    return {
        "runs": labels,
        "metrics": {label: run.measured.to_json() for label, run in zip(labels, runs, strict=True)},
        "differing": {
            name: dict(zip(labels, values, strict=True))
            for name, values in _differing(runs).items()
        },
        "correlations": [
            [None if np.isnan(value) else value for value in row]
            for row in correlations(runs).tolist()
        ],
    }
