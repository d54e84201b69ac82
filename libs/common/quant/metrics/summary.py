"""All metrics of one run, from its equity curve, trades and benchmark, by one call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics import benchmark as beside
from libs.common.quant.metrics import drawdowns, growth, ratios, tails, trades
from libs.common.quant.metrics.days import Daily, Times, daily, periods_per_year
from libs.common.quant.metrics.growth import YEAR_S
from libs.common.quant.metrics.measure import Floats

EMPTY = np.empty(0)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a tear sheet shows; each field is the function of its name in the catalogue.

    Of daily returns, unless the catalogue says otherwise. NaN means undefined. Shares and returns
    are plain numbers (0.1 is 10 %), losses negative; money is in the account's currency.
    """

    days: int
    years: float
    periods: float
    total_return: float
    cagr: float
    annual_volatility: float
    sharpe: float
    sortino: float
    calmar: float
    omega: float
    gain_to_pain: float
    max_drawdown: float
    longest_drawdown_days: float
    recovery_days: float
    recovery_factor: float
    ulcer_index: float
    var_historical: float
    var_normal: float
    cvar_historical: float
    cvar_normal: float
    tail_ratio: float
    skewness: float
    excess_kurtosis: float
    best_return: float
    worst_return: float
    positive_share: float
    trades: int
    hit_rate: float
    profit_factor: float
    payoff_ratio: float
    expectancy: float
    system_quality_number: float
    turnover: float
    time_in_market: float
    mean_exposure: float
    beta: float
    alpha: float
    correlation: float
    tracking_error: float
    information_ratio: float

    def to_json(self) -> dict[str, float | None]:
        """Return the fields by name, NaN as None."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, float | None]) -> Metrics:
        """Return the metrics that `to_json` gave."""
        return cls(**{k: math.nan if v is None else v for k, v in data.items()})  # type: ignore[arg-type]


# Not `asdict`, which copies what it finds, however deep: a tenth of a short trial's time.
_NAMES = tuple(field.name for field in fields(Metrics))


def compute_metrics(
    ts: Times,
    equity: Floats,
    *,
    pnl: Floats = EMPTY,
    traded: Floats = EMPTY,
    exposure: Floats = EMPTY,
    benchmark: Floats | None = None,
    rate: float = 0.0,
    periods: float | None = None,
    day_offset_ns: int = 0,
) -> Metrics:
    """Return the metrics of an equity curve of n bars.

    `ts` (n,) ns and `equity` (n,) in money; `pnl` (k,) profit of each closed trade after its
    costs; `traded` (f,) |quantity x price| of each fill; `exposure` (n,) gross, in money;
    `benchmark` (n,) a price or equity to compare with; `rate` the risk-free rate a year;
    `periods` daily returns a year, None to tell from the dates (`periods_per_year`).

    Returns are those of the last point of each day (`daily`); of a curve with at most one point
    a day that is the curve itself. Drawdowns are of the days' last points too, so that a figure
    does not depend on how fine the bars are; exposure is of all bars. Raises InvalidInputError
    where lengths differ or times do not increase.
    """
    for name, values in (("exposure", exposure), ("benchmark", benchmark)):
        if values is not None and len(values) not in (0, len(ts)):
            raise InvalidInputError(f"{name}: {len(ts)} times but {len(values)} values")
    curve = daily(ts, equity, day_offset_ns)
    yearly = periods_per_year(curve.ts) if periods is None else periods
    years = (int(ts[-1]) - int(ts[0])) / 1e9 / YEAR_S if len(ts) > 1 else math.nan
    return Metrics(
        days=len(curve.ts),
        years=years,
        periods=yearly,
        **_of_curve(curve, rate, yearly),
        trades=len(pnl),
        hit_rate=trades.hit_rate(pnl),
        profit_factor=trades.profit_factor(pnl),
        payoff_ratio=trades.payoff_ratio(pnl),
        expectancy=trades.expectancy(pnl),
        system_quality_number=trades.system_quality_number(pnl),
        turnover=trades.turnover(traded, curve.equity, years),
        time_in_market=trades.time_in_market(exposure),
        mean_exposure=trades.mean_exposure(exposure, equity) if len(exposure) else math.nan,
        **_beside(curve, benchmark, rate, yearly),
    )


def _of_curve(curve: Daily, rate: float, periods: float) -> dict[str, float]:
    returns, equity = growth.simple_returns(curve.equity), curve.equity
    growing = growth.cagr(equity, curve.ts)
    deepest = drawdowns.max_drawdown(equity)
    total = growth.total_return(returns)
    return {
        "total_return": total,
        "cagr": growing,
        "annual_volatility": growth.annual_volatility(returns, periods),
        "sharpe": ratios.sharpe(returns, rate, periods),
        "sortino": ratios.sortino(returns, rate, periods),
        "calmar": ratios.calmar(growing, deepest),
        "omega": ratios.omega(returns, rate, periods),
        "gain_to_pain": ratios.gain_to_pain(returns),
        "max_drawdown": deepest,
        "longest_drawdown_days": drawdowns.longest_drawdown_days(equity, curve.ts),
        "recovery_days": drawdowns.recovery_days(equity, curve.ts),
        "recovery_factor": ratios.recovery_factor(total, deepest),
        "ulcer_index": drawdowns.ulcer_index(equity),
        "var_historical": tails.var_historical(returns),
        "var_normal": tails.var_normal(returns),
        "cvar_historical": tails.cvar_historical(returns),
        "cvar_normal": tails.cvar_normal(returns),
        "tail_ratio": tails.tail_ratio(returns),
        "skewness": tails.skewness(returns),
        "excess_kurtosis": tails.excess_kurtosis(returns),
        "best_return": growth.best_return(returns),
        "worst_return": growth.worst_return(returns),
        "positive_share": growth.positive_share(returns),
    }


def _beside(
    curve: Daily, benchmark: Floats | None, rate: float, periods: float
) -> dict[str, float]:
    names = ("beta", "alpha", "correlation", "tracking_error", "information_ratio")
    if benchmark is None or len(benchmark) == 0:
        return dict.fromkeys(names, math.nan)
    ours = growth.simple_returns(curve.equity)
    other = growth.simple_returns(np.asarray(benchmark, np.float64)[curve.last])
    return {
        "beta": beside.beta(ours, other),
        "alpha": beside.alpha(ours, other, rate, periods),
        "correlation": beside.correlation(ours, other),
        "tracking_error": beside.tracking_error(ours, other, periods),
        "information_ratio": beside.information_ratio(ours, other, periods),
    }
