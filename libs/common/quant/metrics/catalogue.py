"""Every metric with its function; the docs and the tear sheet read names and words from here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libs.common.quant.metrics import benchmark, drawdowns, growth, ratios, tails, trades


@dataclass(frozen=True, slots=True)
class Entry:
    """A metric as a person reads it: `label`, `unit` of its number, and the function behind it.

    Units: "return" and "share" (shown in per cent), "ratio", "days", "money".
    """

    name: str
    label: str
    unit: str
    group: str
    function: Callable[..., float]

    @property
    def definition(self) -> str:
        """Return the docstring up to its source, on one line."""
        return " ".join(self._part(None, "Source:").split())

    @property
    def source(self) -> str:
        """Return author, work and year."""
        return " ".join(self._part("Source:", "Peer:").split())

    @property
    def peer(self) -> str:
        """Return which library's number it equals, and where others differ."""
        return " ".join(self._part("Peer:", None).split())

    def _part(self, begin: str | None, end: str | None) -> str:
        text = inspect.getdoc(self.function) or ""
        if begin is not None:
            text = text.partition(begin)[2]
        return text.partition(end)[0] if end is not None else text


def _entries(group: str, *rows: tuple[str, str, Callable[..., float]]) -> tuple[Entry, ...]:
    return tuple(Entry(f.__name__, label, unit, group, f) for label, unit, f in rows)


CATALOGUE: Final = (
    *_entries(
        "Growth",
        ("Total return", "return", growth.total_return),
        ("CAGR", "return", growth.cagr),
        ("Best day", "return", growth.best_return),
        ("Worst day", "return", growth.worst_return),
        ("Days up", "share", growth.positive_share),
    ),
    *_entries(
        "Risk",
        ("Volatility, a year", "return", growth.annual_volatility),
        ("Maximum drawdown", "return", drawdowns.max_drawdown),
        ("Longest drawdown", "days", drawdowns.longest_drawdown_days),
        ("Recovery of the deepest", "days", drawdowns.recovery_days),
        ("Ulcer index", "return", drawdowns.ulcer_index),
        ("VaR 95 %, historical", "return", tails.var_historical),
        ("VaR 95 %, normal", "return", tails.var_normal),
        ("CVaR 95 %, historical", "return", tails.cvar_historical),
        ("CVaR 95 %, normal", "return", tails.cvar_normal),
        ("Tail ratio", "ratio", tails.tail_ratio),
        ("Skewness", "ratio", tails.skewness),
        ("Excess kurtosis", "ratio", tails.excess_kurtosis),
    ),
    *_entries(
        "Return for risk",
        ("Sharpe", "ratio", ratios.sharpe),
        ("Sortino", "ratio", ratios.sortino),
        ("Calmar", "ratio", ratios.calmar),
        ("Omega", "ratio", ratios.omega),
        ("Gain to pain", "ratio", ratios.gain_to_pain),
        ("Recovery factor", "ratio", ratios.recovery_factor),
    ),
    *_entries(
        "Trades",
        ("Hit rate", "share", trades.hit_rate),
        ("Profit factor", "ratio", trades.profit_factor),
        ("Payoff ratio", "ratio", trades.payoff_ratio),
        ("Expectancy", "money", trades.expectancy),
        ("System quality number", "ratio", trades.system_quality_number),
        ("Turnover, a year", "ratio", trades.turnover),
        ("Time in market", "share", trades.time_in_market),
        ("Mean exposure", "share", trades.mean_exposure),
    ),
    *_entries(
        "Benchmark",
        ("Beta", "ratio", benchmark.beta),
        ("Alpha, a year", "return", benchmark.alpha),
        ("Correlation", "ratio", benchmark.correlation),
        ("Tracking error", "return", benchmark.tracking_error),
        ("Information ratio", "ratio", benchmark.information_ratio),
    ),
)
"""All metrics of `Metrics` that have a formula, in the order of a tear sheet."""
