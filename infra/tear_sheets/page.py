"""A tear sheet as a Markdown page."""

from __future__ import annotations

import datetime as dt
from typing import Final

from infra.tear_sheets.cases import Case
from libs.common.backtest.result import BacktestResult
from libs.common.quant.metrics import CATALOGUE

SHOWN: Final = (
    "total_return", "cagr", "annual_volatility", "sharpe", "sortino", "max_drawdown",
    "longest_drawdown_days", "calmar", "cvar_historical", "hit_rate", "profit_factor",
    "turnover", "mean_exposure",
)  # fmt: skip
HASH: Final = "strategy file, SHA-256: "


BEGIN: Final = "<!-- generated: make tear-sheets -->"
END: Final = "<!-- end of generated part -->"
_COLUMNS: Final = ("cagr", "annual_volatility", "sharpe", "max_drawdown")


def page(name: str, case: Case, own: BacktestResult, other: BacktestResult) -> str:
    """Return the page: what was run, the curve, the figures beside those of holding all alike."""
    own_ts = own.outcome.ts
    first, last = (dt.datetime.fromtimestamp(t / 1e9, dt.UTC).date() for t in own_ts[[0, -1]])
    params = ", ".join(f"{key} = {value}" for key, value in own.strategies[0].params.items())
    lines = [
        f"# Tear sheet: {name}",
        "",
        "Made by `make tear-sheets`; do not edit. The strategy, its idea and its source:",
        f"[{name}](../{name}.md).",
        "",
        f"- bars: {_source(case)}, {first} to {last}, {len(case.symbols)} symbols: "
        f"{', '.join(case.symbols)}",
        f"- parameters: {params or 'none'} (the defaults where not said otherwise)",
        "- costs: commission 5 bps, slippage 2 bps a side; orders fill "
        + ("at the next bar's open" if case.minutes else "at the next day's close"),
        f"- {case.remark}",
        "",
        f"![equity and drawdown]({name}.svg)",
        "",
        "| | strategy | the same symbols, equal weights, monthly |",
        "|---|---:|---:|",
        *_rows(own, other),
        f"| Fills | {len(own.outcome.fills):,} | {len(other.outcome.fills):,} |",
        f"| Round trips | {len(own.outcome.trades):,} | {len(other.outcome.trades):,} |",
        "",
        "Metrics are defined in [metrics](../../metrics.md). The same run, with every fill and an",
        "interactive report:",
        "",
        *(f"    {line}" for line in case.command(name).splitlines()),
        "",
        f"{HASH}`{own.strategies[0].version_hash}`",
        "",
    ]
    return "\n".join(lines)


def _source(case: Case) -> str:
    if case.minutes:
        return "one-minute trades from the sample data of LEAN's public repository"
    return "adjusted daily closes of the installed sample (skfolio's S&P 500 dataset)"


def _rows(own: BacktestResult, other: BacktestResult) -> list[str]:
    entries = {entry.name: entry for entry in CATALOGUE}
    return [
        f"| {entries[name].label} | {_figure(own, name)} | {_figure(other, name)} |"
        for name in SHOWN
    ]


def _figure(result: BacktestResult, name: str) -> str:
    value = float(getattr(result.metrics, name))
    unit = next(entry.unit for entry in CATALOGUE if entry.name == name)
    if value != value:
        return "–"
    if unit in ("return", "share"):
        return f"{value:.2%}"
    return f"{value:,.0f} d" if unit == "days" else f"{value:,.2f}"


def row(name: str, case: Case, own: BacktestResult) -> str:
    """Return the line of the table over all strategies."""
    figures = " | ".join(_figure(own, column) for column in _COLUMNS)
    where = "one week of minutes" if case.minutes else f"{len(case.symbols)} shares"
    trips = f"{len(own.outcome.trades):,}"
    return f"| [`{name}`](tear-sheets/{name}.md) | {where} | {figures} | {trips} |"


def with_rows(index: str, rows: dict[str, str]) -> str:
    """Return the index page with these lines in its table; lines of other strategies stay."""
    head, _, rest = index.partition(BEGIN)
    old, _, tail = rest.partition(END)
    lines = {line.split("`")[1]: line for line in old.splitlines() if line.startswith("| [`")}
    lines |= rows
    table = [
        "| strategy | on | CAGR | volatility | Sharpe | max drawdown | round trips |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(lines[name] for name in sorted(lines)),
    ]
    return "\n".join([head + BEGIN, "", *table, "", END + tail])
