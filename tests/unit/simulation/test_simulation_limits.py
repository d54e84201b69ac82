"""The kernel sizes and limits as the decimal judgement does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from libs.common.domain import checks
from libs.common.domain.instruments import Instrument
from libs.common.domain.sizing import SizingMethod, SizingRule, order_to_reach, wished_position
from libs.common.domain.vocabulary import OrderType, SessionState, Side, TradingState
from libs.common.kernel.errors import Refusal
from libs.common.quant import sizing as formulas
from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.layout import CODES
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.models import Limits, Margin, Models
from libs.common.quant.simulation.sleeves import METHODS, Method, Sizing, Sleeve
from tests.support.simulations import flat, signals

SIGNED = st.decimals(-1, 1, places=3)


def test_the_methods_are_those_of_the_decimal_rule() -> None:
    assert [m.value for m in METHODS] == [m.value for m in SizingMethod]


def test_codes_are_the_judgements_words() -> None:
    own = {"EQUITY_NOT_POSITIVE", "VOLATILITY_UNKNOWN", "SIZE_UNDEFINED", "CASH_SHORT",
           "ORDER_EXPIRED", "ORDER_REPLACED", "INSTRUMENT_DELISTED"}  # fmt: skip
    assert set(CODES) - own <= set(checks.CODES)


@settings(deadline=None)
@given(
    shares=st.decimals(-1_000_000, 1_000_000, places=8),
    lot=st.sampled_from(["1", "100", "0.1", "0.0001", "0.00000001"]),
)
def test_whole_lots_are_the_decimals(shares: Decimal, lot: str) -> None:
    exact = int(abs(shares) / Decimal(lot)) * Decimal(lot)
    assert abs(formulas.whole_lots(float(shares), float(lot))) == float(exact)


@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    method=st.sampled_from([m for m in Method if m is not Method.VOLATILITY_TARGET]),
    figure=st.decimals("0.01", "0.9", places=2),
    target=SIGNED,
    price=st.decimals("1.00", "900.00", places=2),
    present=st.integers(-300, 300),
)
def test_the_order_is_the_decimal_one(
    method: Method, figure: Decimal, target: Decimal, price: Decimal, present: int
) -> None:
    equity = Decimal(1_000_000)
    if method is not Method.PERCENT_OF_EQUITY:
        figure *= 1_000
    wanted = wished_position(
        SizingRule(SizingMethod(method.value), figure),
        float(target),
        price=price,
        equity=equity,
        volatility=None,
        instrument=Instrument("X", shortable=True),
    )
    assert isinstance(wanted, Decimal)
    order = order_to_reach(wanted, Decimal(present), Instrument("X"))
    sized = execute(
        Market.of({"X": flat(*[float(price)] * 3)}),
        [Sleeve("a", {"X": signals({"index": 0, "target": float(target)})},
                Sizing(method, float(figure)))],
        Models(cash=1e6 - present * float(price), margin=Margin(1e-3)),
        holdings={("a", "X"): (float(present), float(price))},
    )  # fmt: skip
    traded = float((sized.fills["side"] * sized.fills["quantity"]).sum())
    assert traded == float(order.side.sign * order.quantity)


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "notional_min": st.sampled_from(["500", "5000"]),
        "notional_max": st.sampled_from(["20000", "60000"]),
        "quantity_max": st.sampled_from(["120", "900"]),
        "order_equity_share_max": st.sampled_from(["0.05", "0.5"]),
        "price_collar": st.sampled_from(["0.01", "0.2"]),
        "buying_power_multiple": st.sampled_from(["0.6", "1"]),
        "position_share_max": st.sampled_from(["0.1", "0.6"]),
        "gross_leverage_max": st.sampled_from(["0.3", "1"]),
        "net_leverage_max": st.sampled_from(["0.2", "1"]),
        "daily_loss_share_max": st.sampled_from(["0.001", "0.2"]),
        "drawdown_max": st.sampled_from(["0.001", "0.2"]),
    },
)
NONE = dict.fromkeys(
    ("notional_max", "quantity_max", "order_equity_share_max", "price_collar",
     "position_share_max", "gross_leverage_max", "net_leverage_max", "daily_loss_max",
     "daily_loss_share_max", "drawdown_max", "sector_share_max")
)  # fmt: skip


@settings(max_examples=120, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    given_limits=LIMITS,
    held=st.integers(-400, 400),
    other=st.integers(-200, 200),
    target=st.sampled_from([-0.6, -0.1, 0.2, 0.7]),
    offset=st.sampled_from([None, "-0.05", "0.05"]),
    fall=st.sampled_from(["0", "2"]),
    shorts=st.booleans(),
)
def test_the_first_denial_is_the_judgements(
    given_limits: dict[str, str],
    held: int,
    other: int,
    target: float,
    offset: str | None,
    fall: str,
    shorts: bool,
) -> None:
    cash, price, price_after = Decimal(100_000), Decimal(100), Decimal(100) - Decimal(fall)
    wished = round(target * 900)
    limit = None if offset is None else price_after * (1 + Decimal(offset))
    loose = checks.Limits(
        **{**NONE, **{name: Decimal(v) for name, v in given_limits.items()}},
        **({} if "notional_min" in given_limits else {"notional_min": Decimal(0)}),
        **({} if "buying_power_multiple" in given_limits
           else {"buying_power_multiple": Decimal(10**6)}),
        market_buffer=Decimal("0.01"),
        short_selling=shorts,
    )  # fmt: skip
    code = _simulated(cash, held, other, target, limit, price_after, given_limits, shorts)
    flips = wished * held < 0
    change = -held if flips else wished - held
    if change == 0:
        return
    quantity, side = Decimal(abs(change)), Side.BUY if change > 0 else Side.SELL
    values = (held * price_after, Decimal(other) * 100)
    equity = cash - held * price - other * 100 + sum(values)
    case = checks.Case(
        order=checks.OrderFacts(
            "X",
            side,
            quantity,
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit_price=limit,
        ),
        state=TradingState.ACTIVE,
        instrument=Instrument("X", shortable=True),
        session=SessionState.REGULAR,
        mark=checks.Mark(price_after, price_after, price_after, Decimal(0)),
        exposure=checks.SymbolExposure(Decimal(held)),
        totals=checks.Totals(
            equity=equity,
            gross=abs(values[0]) + abs(values[1]),
            net_high=sum(values, Decimal(0)),
            net_low=sum(values, Decimal(0)),
            positions_value=abs(values[0]) + abs(values[1]),
            loss_today=cash - equity,
            drawdown=max(Decimal(0), 1 - equity / max(cash, equity)),
        ),
        flow=checks.Flow(),
        limits=loose,
    )
    denial = checks.first_denial(checks.judge(case))
    assert not isinstance(denial, Refusal) or denial.code in CODES
    assert code == (None if denial is None else denial.code)


def _simulated(
    cash: Decimal,
    held: int,
    other: int,
    target: float,
    limit: Decimal | None,
    price_after: Decimal,
    given_limits: dict[str, str],
    shorts: bool,
) -> str | None:
    """Return the code of the refusal, None where there is none."""
    one = flat(100, 100, 100)
    two = one.copy()
    for name in ("close", "low"):
        one[name][1] = float(price_after)
    values: dict[str, Any] = {name: float(value) for name, value in given_limits.items()}
    limits = Limits(**values, market_buffer=0.01, short_selling=shorts)
    row: dict[str, Any] = {"index": 1, "target": target}
    if limit is not None:
        row["limit"] = float(limit)
    outcome = execute(
        Market.of({"X": one, "Y": two}),
        [Sleeve("x", {"X": signals(row), "Y": signals()}, Sizing(Method.FIXED_QUANTITY, 900.0))],
        Models(cash=float(cash) - 100.0 * (held + other), limits=limits, margin=Margin(1e-3)),
        holdings={("x", "X"): (float(held), 100.0), ("x", "Y"): (float(other), 100.0)},
    )
    codes = [CODES[r["code"]] for r in outcome.refused]
    return codes[0] if codes else None
