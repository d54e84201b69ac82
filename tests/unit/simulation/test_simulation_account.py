"""What happens to an account without an order, and what a fill costs, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.layout import CODES, DELISTING, DIVIDEND, REASONS, SPLIT
from libs.common.quant.simulation.market import Action, Market
from libs.common.quant.simulation.models import Commission, Interest, Margin, Models
from libs.common.quant.simulation.sleeves import Method, Sizing, Sleeve
from tests.support.simulations import DAY, bars, fills_of, flat, run_one, signals

NAN = float("nan")
BUY = {"index": 0, "target": 1.0}
SELL = {"index": 0, "target": -1.0}
REG_T = Models(cash=1_000.0, margin=Margin.reg_t())


def test_a_margin_call_sells_until_the_initial_margin_holds_again() -> None:
    outcome = run_one(flat(10, 10, 6, 6), BUY, shares=200.0, models=REG_T)
    # At 6: equity -1000 + 1200 = 200 < 25 % of 1200. 200 / 50 % carry 400 of shares: 66.
    assert fills_of(outcome) == [(1, 200.0, 10.0), (3, -134.0, 6.0)]
    assert REASONS[outcome.fills["reason"][1]] == "liquidation"
    assert outcome.cash.tolist() == [1000.0, -1000.0, -1000.0, -196.0]
    assert outcome.equity.tolist() == [1000.0, 1000.0, 200.0, 200.0]


def test_no_call_where_maintenance_holds() -> None:
    # At 7: equity 400, 25 % of 1400 are 350.
    outcome = run_one(flat(10, 10, 7, 7), BUY, shares=200.0, models=REG_T)
    assert len(outcome.fills) == 1


def test_without_equity_all_is_sold() -> None:
    outcome = run_one(flat(10, 10, 4, 4), BUY, shares=200.0, models=REG_T)
    assert fills_of(outcome)[1:] == [(3, -200.0, 4.0)]
    assert outcome.equity[-1] == -200.0


def test_a_short_is_called_at_thirty_per_cent() -> None:
    outcome = run_one(flat(10, 10, 13, 13), SELL, shares=200.0, models=REG_T)
    # At 13: equity 3000 - 2600 = 400 < 780. 400 / 50 % carry 800: 61 shares.
    assert fills_of(outcome) == [(1, -200.0, 10.0), (3, 139.0, 13.0)]


def test_cash_earns_simple_interest_by_actual_days() -> None:
    outcome = run_one(flat(10, 10, 10), models=Models(interest=Interest(credit=0.036)))
    # 3.6 % / 360 is 1 in 10 000 a day.
    assert outcome.equity == pytest.approx([1_000_000.0, 1_000_100.0, 1_000_200.01])
    assert outcome.totals.interest == pytest.approx(200.01)


def test_a_loan_costs_the_debit_rate() -> None:
    models = Models(cash=1_000.0, margin=Margin.reg_t(), interest=Interest(debit=0.072))
    outcome = run_one(flat(10, 10, 10), BUY, shares=150.0, models=models)
    assert outcome.cash == pytest.approx([1000.0, -500.0, -500.1])
    assert outcome.totals.interest == pytest.approx(-0.1)


def test_the_proceeds_of_a_short_earn_nothing() -> None:
    models = Models(cash=1_000.0, interest=Interest(credit=0.036))
    outcome = run_one(flat(10, 10, 10), SELL, models=models)
    # The first day 1000 earn 0.10; then cash is 2000.10, of which 1000 are collateral.
    assert outcome.totals.interest == pytest.approx(0.1 + 0.10001)


@pytest.mark.parametrize(("rate", "fee"), [({}, 1.0), ({"X": 0.72}, 2.0)])
def test_borrowed_shares_cost_their_rate(rate: dict[str, float], fee: float) -> None:
    models = Models(interest=Interest(borrow=0.36))
    outcome = run_one(flat(10, 10, 10), SELL, models=models, borrow=rate)
    # 100 shares at 10, a day of 360.
    assert outcome.totals.borrow == pytest.approx(fee)
    assert outcome.equity[-1] == pytest.approx(1_000_000.0 - fee)


@pytest.mark.parametrize(
    ("row", "paid"), [(BUY, 42.5), (SELL, -50.0), ({"index": 1, "target": 1.0}, 0.0)]
)
def test_a_dividend_is_paid_on_what_is_held_before_its_day(
    row: dict[str, float], paid: float
) -> None:
    models = Models(interest=Interest(dividend_tax=0.15))
    actions = [Action(3 * DAY, "X", DIVIDEND, 0.5)]
    end = {"index": 2, "target": 0.0}
    outcome = run_one(flat(10, 10, 10, 10), row, end, models=models, actions=actions)
    assert outcome.totals.dividends == pytest.approx(paid)
    assert outcome.trades["income"].tolist() == pytest.approx([paid])
    assert outcome.trades["profit"].tolist() == pytest.approx([paid])
    assert outcome.equity[-1] == pytest.approx(1_000_000.0 + paid)


def test_a_split_pays_out_what_is_no_whole_share() -> None:
    actions = [Action(3 * DAY, "X", SPLIT, 2.5)]
    outcome = run_one(flat(10, 10, 4, 4), BUY, shares=5.0, actions=actions)
    assert fills_of(outcome) == [(1, 5.0, 10.0), (2, -0.5, 4.0)]
    assert REASONS[outcome.fills["reason"][1]] == "split_fraction"
    assert outcome.positions.tolist() == [12.0]
    assert outcome.equity.tolist() == [1_000_000.0] * 4


def test_exits_follow_a_split() -> None:
    table = bars([(10, 10, 10, 10), (10, 10, 10, 10), (4, 4, 3.5, 4)])
    outcome = run_one(table, BUY | {"stop": 9.0}, actions=[Action(3 * DAY, "X", SPLIT, 2.5)])
    assert fills_of(outcome) == [(1, 100.0, 10.0), (2, -250.0, 3.6)]


@pytest.mark.parametrize(("price", "closed"), [(NAN, 12.0), (7.0, 7.0)])
def test_a_delisting_after_the_last_bar_closes(price: float, closed: float) -> None:
    rows = (BUY, {"index": 1, "target": 0.5})
    outcome = run_one(flat(10, 12), *rows, actions=[Action(5 * DAY, "X", DELISTING, price)])
    assert fills_of(outcome) == [(1, 100.0, 12.0), (2, -100.0, closed)]
    assert REASONS[outcome.fills["reason"][1]] == "delisting"
    assert outcome.fills["ts"].tolist() == [2 * DAY, 5 * DAY]
    assert outcome.positions.tolist() == [0.0]
    gain = 100 * (closed - 12.0)
    assert outcome.equity.tolist() == [1_000_000.0, 1_000_000.0 + gain]
    assert (outcome.cash[-1], outcome.exposure_long[-1]) == (1_000_000.0 + gain, 0.0)
    assert outcome.trades["profit"].tolist() == [gain]
    # The order of the last bar had no bar to be filled by.
    assert [CODES[code] for code in outcome.refused["code"]] == ["INSTRUMENT_DELISTED"]


def test_splits_and_dividends_after_the_last_bar_are_not_of_this_run() -> None:
    actions = [Action(5 * DAY, "X", DIVIDEND, 1.0), Action(5 * DAY, "X", SPLIT, 2.0)]
    outcome = run_one(flat(10, 12), BUY, actions=actions)
    assert outcome.positions.tolist() == [100.0]
    assert outcome.equity.tolist() == [1_000_000.0, 1_000_000.0]


def test_many_are_delisted_after_the_last_bar() -> None:
    names = [f"S{k}" for k in range(40)]
    market = Market.of(
        {name: flat(10, 10) for name in names},
        actions=[Action(3 * DAY, name, DELISTING, 11.0) for name in names],
    )
    given = {name: signals(BUY) for name in names}
    outcome = execute(market, [Sleeve("all", given, Sizing(Method.FIXED_QUANTITY, 10.0))], Models())
    assert len(outcome.trades) == 40
    assert outcome.equity[-1] == 1_000_000.0 + 40 * 10.0
    assert not outcome.positions.any()


@pytest.mark.parametrize(
    ("commission", "fees"),
    [
        # 1000 bought pay 1 %; 1000 sold come after 1000 traded and pay 0.1 %.
        (Commission(tiers=((0.0, 0.01), (1_000.0, 0.001))), [10.0, 1.0]),
        (Commission(tiers=((0.0, 0.01), (1_000.01, 0.001))), [10.0, 10.0]),
        (Commission(per_share=0.005, minimum=1.0), [1.0, 1.0]),
        (Commission(per_share=0.05, minimum=1.0), [5.0, 5.0]),
        (Commission(per_share=0.05, maximum_share=0.002), [2.0, 2.0]),
        (Commission(per_order=2.5, tax_buy=0.005), [7.5, 2.5]),
        (Commission(tax_sell=0.001, fee_per_share_sold=0.01), [0.0, 2.0]),
    ],
)
def test_commission_by_hand(commission: Commission, fees: list[float]) -> None:
    rows = (BUY, {"index": 1, "target": 0.0})
    outcome = run_one(flat(10, 10, 10), *rows, models=Models(commission=commission))
    assert outcome.fills["commission"].tolist() == pytest.approx(fees)
    assert outcome.totals.commission == pytest.approx(sum(fees))
    assert outcome.cash[-1] == pytest.approx(1_000_000.0 - sum(fees))


def test_a_resting_limit_pays_the_makers_rate() -> None:
    models = Models(commission=Commission(percent=0.01, maker=-0.001))
    table = bars([(10, 10, 10, 10), (10, 10, 9, 10)])
    outcome = run_one(table, BUY | {"limit": 9.0}, models=models)
    assert outcome.fills["commission"].tolist() == pytest.approx([-0.9])
    assert np.isclose(outcome.cash[-1], 1_000_000.0 - 900.0 + 0.9)
