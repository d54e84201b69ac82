"""The tear sheet of one run: HTML with interactive plots, and the same as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from libs.common.backtest.report import figures, figures_returns, figures_trades, tables
from libs.common.backtest.report.page import Card, Plot, card, columns, page, plotted
from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.series import dates, numbers
from libs.common.backtest.report.sureness import sureness, sureness_json, sureness_table
from libs.common.backtest.report.words import day, escaped
from libs.common.quant.metrics import monthly_returns

_FOOTER = (
    "Returns are from the last point of one day to that of the next; losses are negative; a dash "
    "means undefined. Definitions, sources and the library that each figure equals: "
    "docs/metrics.md. Past returns of a simulation promise nothing."
)


def render_html(run: ReportInput) -> str:
    """Return the tear sheet as one HTML file that opens offline."""
    plots = _plots(run)
    wide = "".join(plotted(plot).html for plot in plots if plot.wide)
    cards = [plotted(plot) for plot in plots if not plot.wide] + _tables(run)
    whole = card("Metrics", tables.metrics(run), 0, wide=True).html
    parts = (tables.headlines(run), wide, columns(cards), whole, _notes(run))
    footer = f"<footer>{escaped(_FOOTER)}</footer>"
    body = "".join((*parts, footer))
    return page(run.title, _header(run), body, {plot.name: plot.figure for plot in plots})


def _tables(run: ReportInput) -> list[Card]:
    """Return the tables of half the width, where there is something in them."""
    row = 27
    found = []
    if run.crises:
        found.append(
            card(
                "Crisis windows",
                tables.crises(run),
                row * len(run.crises),
                note="Bad times of US equities inside the run, from close to close.",
            )
        )
    sure = sureness(run)
    if sure is not None:
        note = f"{sure.paths:,} histories of blocks of the days; trying many rules is not in it."
        body = sureness_table(sure, run.measured.periods)
        found.append(card("Luck or skill", body, row * 6, note=note))
    if len(run.ts):
        found.append(card("Deepest drawdowns", tables.worst_drawdowns(run), row * tables.ROWS))
    if len(run.trades):
        found.append(
            card(
                "Largest wins and losses",
                tables.largest_trades(run),
                row * min(len(run.trades), tables.ROWS),
            )
        )
    for title, values in (("Parameters", run.params), ("What was run", run.facts)):
        if values:
            found.append(card(title, tables.named(values), row * len(values)))
    return found


def _notes(run: ReportInput) -> str:
    if not run.notes:
        return ""
    items = "".join(f"<li>{escaped(note)}</li>" for note in run.notes)
    return card("Notes", f"<ul>{items}</ul>", 0, wide=True).html


def _header(run: ReportInput) -> str:
    words = []
    if len(run.ts):
        words.append(f"{day(run.ts[0])} to {day(run.ts[-1])}")
        words.append(f"{len(run.ts):,} points of time")
    if run.symbols:
        shown = ", ".join(run.symbols[:12]) + (" …" if len(run.symbols) > 12 else "")
        words.append(shown)
    return f'<h1>{escaped(run.title)}</h1><p class="sub">{escaped(" · ".join(words))}</p>'


def _plots(run: ReportInput) -> list[Plot]:
    if len(run.ts) == 0:
        return [Plot("equity", "Equity", {"data": [], "layout": {}}, "No bars.", wide=True)]
    found = [Plot("equity", "Equity and drawdown", figures.equity(run), wide=True)]
    largest = min(len(run.trades), figures_trades.TRADES_MAX)
    optional: tuple[tuple[str, str, dict[str, Any] | None, str, bool], ...] = (
        ("months", "Monthly returns, %", figures_returns.months(run), "", False),
        ("yearly", "Yearly returns", figures_returns.yearly(run), "", False),
        ("rolling", "Rolling Sharpe", figures.rolling(run), "Last 126 days, a year.", False),
        ("distribution", "Daily returns", figures_returns.distribution(run),
         "Against a normal distribution of the same mean and deviation.", False),
        ("exposure", "Exposure", figures.exposure(run), "Share of equity.", False),
        ("contributions", "Contributions", figures_trades.contributions(run),
         f"Money earned by symbol and strategy: {run.contributions()[1]}.", False),
        ("trades", "Trades", figures_trades.trades(run),
         f"Profit of closed trades when they ended: {largest:,} of {len(run.trades):,}, the "
         "largest.", False),
    )  # fmt: skip
    found += [Plot(n, t, plot, note, wide) for n, t, plot, note, wide in optional if plot]
    return found


def report_json(run: ReportInput) -> dict[str, Any]:
    """Return the report as JSON data: metrics, daily curve, months, crises, contributions."""
    months, earned = monthly_returns(run.days.ts, run.days.equity)
    money, what = run.contributions()
    return {
        "title": run.title,
        "symbols": list(run.symbols),
        "sleeves": list(run.sleeves),
        "params": {name: str(value) for name, value in run.params.items()},
        "facts": {name: str(value) for name, value in run.facts.items()},
        "notes": list(run.notes),
        "metrics": run.measured.to_json(),
        "daily": {
            "date": [text[:10] for text in dates(run.days.ts)],
            "equity": numbers(run.days.equity, 12),
            "benchmark": None if run.day_benchmark is None else numbers(run.day_benchmark, 12),
        },
        "months": {
            f"{1970 + month // 12}-{month % 12 + 1:02}": value
            for month, value in zip(months.tolist(), numbers(earned, 9), strict=True)
        },
        "crises": [
            {
                "name": ours.crisis.name,
                "first": str(ours.crisis.first),
                "last": str(ours.crisis.last),
                "source": ours.crisis.source,
                "total_return": numbers(np.array([ours.total_return]))[0],
                "max_drawdown": numbers(np.array([ours.max_drawdown]))[0],
            }
            for ours, _ in run.crises
        ],
        "sureness": sureness_json(sureness(run)),
        "contributions": {
            "what": what,
            "by_sleeve": {
                sleeve: dict(zip(run.symbols, numbers(row, 12), strict=True))
                for sleeve, row in zip(run.sleeves or ("strategy",), money, strict=True)
            },
        },
    }
