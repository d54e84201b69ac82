"""What a report is made of: curves, fills and trades of one run, and words about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from libs.common.quant.metrics import Daily, Metrics, compute_metrics, daily, simple_returns
from libs.common.quant.metrics.days import check_times
from libs.common.quant.simulation.layout import FILL, TRADE
from libs.common.quant.validation import Stressed, stressed

Floats = npt.NDArray[np.float64]


def _nothing() -> Floats:
    return np.empty(0)


@dataclass(frozen=True)
class ReportInput:
    """One run. Text may hold anything; it is shown as text.

    Curves have shape (n,), in the account's currency: `ts` i8 ns (UTC), `equity` after each bar's
    close, `cash`, `exposure_long` and `exposure_short` (both positive), `benchmark` a price or an
    equity to compare with. All but `ts` and `equity` may be empty. `fills` (FILL) and `trades`
    (TRADE, closed round trips) name `symbols` and `sleeves` by index. `held` (sleeves, symbols)
    shares in the end and `last_prices` (symbols,) value what is still open. `params` and `facts`
    (data source, models, …) are shown as name and value, `notes` as sentences. `metrics` are those
    of the run; None to compute them here. `seed` is for what is drawn by lot.
    """

    title: str
    ts: npt.NDArray[np.int64]
    equity: Floats
    cash: Floats = field(default_factory=_nothing)
    exposure_long: Floats = field(default_factory=_nothing)
    exposure_short: Floats = field(default_factory=_nothing)
    symbols: tuple[str, ...] = ()
    sleeves: tuple[str, ...] = ()
    fills: np.ndarray = field(default_factory=lambda: np.zeros(0, FILL))
    trades: np.ndarray = field(default_factory=lambda: np.zeros(0, TRADE))
    held: Floats = field(default_factory=_nothing)
    last_prices: Floats = field(default_factory=_nothing)
    params: Mapping[str, object] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    benchmark: Floats | None = None
    benchmark_name: str = "benchmark"
    notes: tuple[str, ...] = ()
    metrics: Metrics | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        check_times(self.ts, self.equity, self.title)
        for curve in (self.cash, self.exposure_long, self.exposure_short, self.benchmark):
            if curve is not None and len(curve):
                check_times(self.ts, curve, self.title)

    @cached_property
    def measured(self) -> Metrics:
        """Return the metrics given, else those of the curves."""
        if self.metrics is not None:
            return self.metrics
        return compute_metrics(
            self.ts,
            self.equity,
            pnl=self.trades["profit"],
            traded=self.fills["quantity"] * self.fills["price"],
            exposure=self.gross_exposure,
            benchmark=self.benchmark,
        )

    @property
    def gross_exposure(self) -> Floats:
        """Return long and short together, shape (n,); empty where not given."""
        if len(self.exposure_long) and len(self.exposure_short):
            return self.exposure_long + self.exposure_short
        return self.exposure_long if len(self.exposure_long) else self.exposure_short

    @cached_property
    def days(self) -> Daily:
        """Return the curve with one point a day."""
        return daily(self.ts, self.equity)

    @cached_property
    def day_returns(self) -> Floats:
        """Return the returns from day to day, one less than days."""
        return simple_returns(self.days.equity)

    @cached_property
    def day_benchmark(self) -> Floats | None:
        """Return the benchmark at each day's last point, None where there is none."""
        if self.benchmark is None or len(self.benchmark) == 0:
            return None
        return np.asarray(self.benchmark, np.float64)[self.days.last]

    @cached_property
    def crises(self) -> tuple[tuple[Stressed, Stressed | None], ...]:
        """Return the crises inside the run: what it did, and what the benchmark did."""
        ours = stressed(self.days.ts, self.days.equity)
        if self.day_benchmark is None:
            return tuple((one, None) for one in ours)
        return tuple(zip(ours, stressed(self.days.ts, self.day_benchmark), strict=True))

    def contributions(self) -> tuple[Floats, str]:
        """Return money earned by sleeve and symbol, shape (sleeves, symbols), and what is in it.

        What was sold less what was bought less commissions, plus what is still held at its last
        price; where that is not given, the profit of closed trades.
        """
        shape = (max(len(self.sleeves), 1), len(self.symbols))
        earned = np.zeros(shape)
        if self.held.size and len(self.last_prices):
            fills = self.fills
            money = -fills["side"] * fills["quantity"] * fills["price"] - fills["commission"]
            np.add.at(earned, (fills["sleeve"], fills["symbol"]), money)
            open_value = np.where(self.held != 0.0, self.held * self.last_prices, 0.0)
            return earned + open_value.reshape(shape), "closed and open, after commission"
        trades = self.trades
        np.add.at(earned, (trades["sleeve"], trades["symbol"]), trades["profit"])
        return earned, "closed trades, after commission"
