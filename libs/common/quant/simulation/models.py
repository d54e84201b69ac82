"""The models of a simulation: how orders fill, what they cost, what the account may do.

Each is a small frozen record of figures; all of them together become one NumPy record (MODEL) for
the kernel. Rates are plain numbers (0.001 is 0.1 %), yearly where they say so. Formulas and
sources: docs/backtest-engine.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

import numpy as np

TIERS_MAX: Final = 8


class MarketFill(StrEnum):
    """Where a market order fills: the next bar's open or close, or the quote as that bar opens."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"
    QUOTE = "quote"


class LimitFill(StrEnum):
    """When a resting limit fills: as the price touches it, or only once it has traded through."""

    TOUCH = "touch"
    THROUGH = "through"


class SlippageMethod(StrEnum):
    """What a market or stop order pays beyond the clean price."""

    NONE = "none"
    BPS = "bps"
    SPREAD = "spread"
    IMPACT = "impact"


class Flip(StrEnum):
    """What a change of sides does: close only, as live, or trade through zero in one order."""

    CLOSE_FIRST = "close_first"
    THROUGH = "through"


class Exits(StrEnum):
    """Whose stop and take-profit guard a position: the entry's, as live, or the latest signal's."""

    ENTRY = "entry"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Fill:
    """`volume_share`: at most this share of a bar's volume is ours, the rest waits (None: all is).
    `quote_levels`: how many prices of the quote's ladder an order may walk."""

    market: MarketFill = MarketFill.NEXT_OPEN
    limit: LimitFill = LimitFill.TOUCH
    volume_share: float | None = None
    quote_levels: int = 5


@dataclass(frozen=True, slots=True)
class Slippage:
    """BPS: `figure` basis points. SPREAD: `figure` times the spread (the quote's, else
    `spread_bps`). IMPACT: figure x sigma x sqrt(quantity / volume), over `window` bars before."""

    method: SlippageMethod = SlippageMethod.NONE
    figure: float = 0.0
    spread_bps: float = 0.0
    window: int = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """How long an order travels: whole bars, and nanoseconds from the close of its bar."""

    bars: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class Commission:
    """What the broker takes of an order, and the taxes.

    Per order: per_order + per_share x shares + percent x money, at least `minimum`, and never more
    than `maximum_share` of its money. `percent` is what a taker pays; a resting limit pays `maker`
    if given. `tiers`: (money traded so far, percent from there on), replaces `percent`. Taxes are
    shares of the money bought or sold; `fee_per_share_sold` is money.
    """

    per_share: float = 0.0
    per_order: float = 0.0
    percent: float = 0.0
    maker: float | None = None
    tiers: tuple[tuple[float, float], ...] = ()
    minimum: float = 0.0
    maximum_share: float | None = None
    tax_buy: float = 0.0
    tax_sell: float = 0.0
    fee_per_share_sold: float = 0.0


@dataclass(frozen=True, slots=True)
class Margin:
    """`initial`: the share of gross positions that equity must cover to open; 1 is a cash account.
    Below the maintenance shares of long and short positions, positions are closed by force."""

    initial: float = 1.0
    maintenance_long: float = 0.0
    maintenance_short: float = 0.0

    @classmethod
    def reg_t(cls) -> Margin:
        """Return Regulation T (12 CFR 220.12: 50 % initially) with FINRA rule 4210(c)'s 25 % and
        30 % of maintenance."""
        return cls(0.5, 0.25, 0.30)


@dataclass(frozen=True, slots=True)
class Interest:
    """Yearly rates: on positive cash (short proceeds earn none), on negative cash, on the value of
    borrowed shares where the market names no rate; days in a year; tax on dividends received."""

    credit: float = 0.0
    debit: float = 0.0
    borrow: float = 0.0
    days: float = 360.0
    dividend_tax: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The risk manager's limits, by its names (`domain.checks.Limits`); None: not set."""

    notional_min: float | None = None
    notional_max: float | None = None
    quantity_max: float | None = None
    order_equity_share_max: float | None = None
    price_collar: float | None = None
    market_buffer: float = 0.0
    buying_power_multiple: float | None = None
    position_share_max: float | None = None
    gross_leverage_max: float | None = None
    net_leverage_max: float | None = None
    short_selling: bool = True
    daily_loss_max: float | None = None
    daily_loss_share_max: float | None = None
    drawdown_max: float | None = None


@dataclass(frozen=True, slots=True)
class Models:
    """Everything a simulation is told beside market and signals.

    `order_bars`: how many bars an order may work before it ends (None: until done or replaced).
    `periods`: bars in a year, for volatility targets; `volatility_window` returns go into them.
    """

    cash: float = 1_000_000.0
    fill: Fill = field(default_factory=Fill)
    slippage: Slippage = field(default_factory=Slippage)
    latency: Latency = field(default_factory=Latency)
    commission: Commission = field(default_factory=Commission)
    margin: Margin = field(default_factory=Margin)
    interest: Interest = field(default_factory=Interest)
    limits: Limits = field(default_factory=Limits)
    flip: Flip = Flip.CLOSE_FIRST
    exits: Exits = Exits.ENTRY
    order_bars: int | None = None
    periods: float = 252.0
    volatility_window: int = 63

    def __post_init__(self) -> None:
        """Raise ValueError, naming the figure, for one that is out of its range."""
        check_models(self)


def check_models(m: Models) -> None:
    """Raise ValueError for the first figure out of its range."""
    c, i, lim = m.commission, m.interest, m.limits
    at_least_zero = {
        "slippage.figure": m.slippage.figure,
        "slippage.spread_bps": m.slippage.spread_bps,
        "latency.bars": m.latency.bars,
        "latency.ns": m.latency.ns,
        "commission.per_share": c.per_share,
        "commission.per_order": c.per_order,
        "commission.percent": c.percent,
        "commission.minimum": c.minimum,
        "commission.maximum_share": c.maximum_share,
        "commission.tax_buy": c.tax_buy,
        "commission.tax_sell": c.tax_sell,
        "commission.fee_per_share_sold": c.fee_per_share_sold,
        "margin.maintenance_long": m.margin.maintenance_long,
        "margin.maintenance_short": m.margin.maintenance_short,
        "interest.credit": i.credit,
        "interest.debit": i.debit,
        "interest.borrow": i.borrow,
        "interest.dividend_tax": i.dividend_tax,
        **{f"limits.{name}": getattr(lim, name) for name in LIMIT_NAMES},
    }
    above_zero = {
        "cash": m.cash,
        "fill.volume_share": m.fill.volume_share,
        "fill.quote_levels": m.fill.quote_levels,
        "margin.initial": m.margin.initial,
        "interest.days": i.days,
        "order_bars": m.order_bars,
        "periods": m.periods,
    }
    for name, value in at_least_zero.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must not be below 0, got {value!r}")
    for name, value in above_zero.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be above 0, got {value!r}")
    for name, value in {
        "slippage.window": m.slippage.window,
        "volatility_window": m.volatility_window,
    }.items():
        if value < 2:
            raise ValueError(f"{name} must be at least 2, got {value!r}")
    if c.maker is not None and not math.isfinite(c.maker):
        raise ValueError(f"commission.maker must be a number, got {c.maker!r}")
    thresholds = [start for start, _ in c.tiers]
    if len(thresholds) > TIERS_MAX or thresholds != sorted(set(thresholds)):
        raise ValueError(f"commission.tiers must be at most {TIERS_MAX}, by rising amounts")
    if thresholds and thresholds[0] != 0.0:
        raise ValueError(f"commission.tiers must begin at 0, got {thresholds[0]!r}")


LIMIT_NAMES: Final = (
    "notional_min",
    "notional_max",
    "quantity_max",
    "order_equity_share_max",
    "price_collar",
    "market_buffer",
    "buying_power_multiple",
    "position_share_max",
    "gross_leverage_max",
    "net_leverage_max",
    "daily_loss_max",
    "daily_loss_share_max",
    "drawdown_max",
)

MODEL: Final = np.dtype(
    [
        ("cash", "f8"),
        ("market_fill", "i8"),
        ("through", "i8"),
        ("volume_share", "f8"),
        ("quote_levels", "i8"),
        ("slippage", "i8"),
        ("slippage_figure", "f8"),
        ("spread", "f8"),
        ("window", "i8"),
        ("latency_bars", "i8"),
        ("latency_ns", "i8"),
        ("per_share", "f8"),
        ("per_order", "f8"),
        ("taker", "f8"),
        ("maker", "f8"),
        ("tiers", "i8"),
        ("tier_start", "f8", (TIERS_MAX,)),
        ("tier_rate", "f8", (TIERS_MAX,)),
        ("minimum", "f8"),
        ("maximum_share", "f8"),
        ("tax_buy", "f8"),
        ("tax_sell", "f8"),
        ("fee_sold", "f8"),
        ("initial", "f8"),
        ("maintenance_long", "f8"),
        ("maintenance_short", "f8"),
        ("accrues", "i8"),
        ("credit", "f8"),
        ("debit", "f8"),
        ("year_ns", "f8"),
        ("dividend_tax", "f8"),
        ("limited", "i8"),
        *((name, "f8") for name in LIMIT_NAMES),
        ("short_selling", "i8"),
        ("flip_through", "i8"),
        ("exits_latest", "i8"),
        ("order_bars", "i8"),
        ("periods", "f8"),
        ("volatility_window", "i8"),
        ("duration", "i8"),
        ("entries", "i8"),
        ("aligned", "i8"),
    ],
    align=True,
)
"""Models as the kernel reads them: enums as their position, what is not set as infinity (or as 0
where a least value is meant)."""


def model_record(
    models: Models, duration_ns: int, entries: int, *, borrows: bool, aligned: bool
) -> np.ndarray:
    """Return `models` as a record, shape (1,). `entries`: most that one time can add to a log;
    `borrows`: some symbol has a borrowing rate above 0;
    `aligned`: every symbol has a bar at every time."""
    # From bytes: NumPy copies a record field by field.
    table = np.frombuffer(bytearray(_record(models)), MODEL)
    record = table[0]
    record["duration"], record["entries"] = duration_ns, entries
    record["aligned"] = aligned
    record["accrues"] = bool(record["accrues"]) or borrows
    return table


@lru_cache(maxsize=64)
def _record(models: Models) -> bytes:
    """Return what of the record is the models' own; to fill it in takes longer than many a run."""
    m, c, i = models, models.commission, models.interest
    table = np.zeros(1, MODEL)
    record = table[0]
    limits = {name: _or_infinite(getattr(m.limits, name)) for name in LIMIT_NAMES}
    limits["notional_min"] = m.limits.notional_min or 0.0
    values = {
        "cash": m.cash,
        "market_fill": list(MarketFill).index(m.fill.market),
        "through": m.fill.limit is LimitFill.THROUGH,
        "volume_share": _or_infinite(m.fill.volume_share),
        "quote_levels": m.fill.quote_levels,
        "slippage": list(SlippageMethod).index(m.slippage.method),
        "slippage_figure": m.slippage.figure,
        "spread": m.slippage.spread_bps * 1e-4,
        "window": m.slippage.window,
        "latency_bars": m.latency.bars,
        "latency_ns": m.latency.ns,
        "per_share": c.per_share,
        "per_order": c.per_order,
        "taker": c.percent,
        "maker": math.nan if c.maker is None else c.maker,
        "tiers": len(c.tiers),
        "minimum": c.minimum,
        "maximum_share": _or_infinite(c.maximum_share),
        "tax_buy": c.tax_buy,
        "tax_sell": c.tax_sell,
        "fee_sold": c.fee_per_share_sold,
        "initial": m.margin.initial,
        "maintenance_long": m.margin.maintenance_long,
        "maintenance_short": m.margin.maintenance_short,
        "accrues": bool(i.credit or i.debit),
        "credit": i.credit,
        "debit": i.debit,
        "year_ns": i.days * 86_400e9,
        "dividend_tax": i.dividend_tax,
        "limited": m.limits != Limits(),
        **limits,
        "short_selling": m.limits.short_selling,
        "flip_through": m.flip is Flip.THROUGH,
        "exits_latest": m.exits is Exits.LATEST,
        "order_bars": np.iinfo(np.int64).max // 2 if m.order_bars is None else m.order_bars,
        "periods": m.periods,
        "volatility_window": m.volatility_window,
    }
    for name, value in values.items():
        record[name] = value
    for k, (start, rate) in enumerate(c.tiers):
        record["tier_start"][k], record["tier_rate"][k] = start, rate
    return table.tobytes()


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else float(value)
