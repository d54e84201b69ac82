"""A day's figures of both sides: every kind of difference is found, and nothing else."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.sessions import load_calendar
from libs.common.domain.vocabulary import Side
from libs.common.kernel.ids import BrokerOrderId, ExecutionId, Symbol
from services.trade_executor.tie_out import (
    Difference,
    Figures,
    Moved,
    Traded,
    Tried,
    compare,
    day_of,
    is_due,
    moved_by,
    movement,
    standing,
    traded,
)

AT = dt.datetime(2019, 3, 4, 15, tzinfo=dt.UTC)
DAY = dt.date(2019, 3, 4)
CALENDAR = load_calendar(dt.date(2019, 1, 1), dt.date(2019, 12, 31))
BOOKS = Figures(
    Decimal("999000.0000"),
    {"KO": Decimal(10)},
    {"KO buy": Traded(2, Decimal(10), Decimal("1000.00"))},
    {"FEE": Moved(1, Decimal("-0.0200"))},
)
QUIET = movement(Decimal(5), {"trade": Decimal(2)}, {"trade": Decimal(3)}, Decimal(6))


def execution(identity: str, quantity: str = "5", side: Side = Side.BUY) -> Execution:
    return Execution(
        "alpaca", ExecutionId(identity), BrokerOrderId("o"), Symbol("KO"), side,
        Decimal(quantity), Decimal("100.0050"), AT,
    )  # fmt: skip


def reversal(original: str, replacement: Execution | None = None) -> Reversal:
    return Reversal(
        "alpaca", ExecutionId(original), BrokerOrderId("o"), Symbol("KO"), AT, "", replacement
    )


def activity(kind: str, amount: str, at: dt.datetime = AT) -> Activity:
    return Activity(f"{kind}{amount}{at}", kind, Decimal(amount), at)


def test_equal_figures_agree() -> None:
    same = replace(BOOKS, cash=Decimal("999000"), positions={"KO": Decimal("10.0"), "AAPL": 0})
    assert compare(BOOKS, same, QUIET) == []


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ({"cash": Decimal("999000.01")}, [Difference("cash", "", "999000", "999000.01")]),
        ({"positions": {}}, [Difference("position", "KO", "10", "0")]),
        (
            {"positions": {"KO": Decimal(10), "PEP": Decimal(-1)}},
            [Difference("position", "PEP", "0", "-1")],
        ),
        (
            {"executions": {"KO buy": Traded(3, Decimal(10), Decimal("1000.00"))}},
            [Difference("executions number", "KO buy", "2", "3")],
        ),
        (
            {"executions": {"KO buy": Traded(2, Decimal("10.00000001"), Decimal("1000.01"))}},
            [
                Difference("executions quantity", "KO buy", "10", "10.00000001"),
                Difference("executions money", "KO buy", "1000", "1000.01"),
            ],
        ),
        (
            {"executions": {"KO sell": Traded(2, Decimal(10), Decimal("1000.00"))}},
            [
                Difference("executions number", "KO buy", "2", "0"),
                Difference("executions quantity", "KO buy", "10", "0"),
                Difference("executions money", "KO buy", "1000", "0"),
                Difference("executions number", "KO sell", "0", "2"),
                Difference("executions quantity", "KO sell", "0", "10"),
                Difference("executions money", "KO sell", "0", "1000"),
            ],
        ),
        (
            {"activities": {"FEE": Moved(1, Decimal("-0.03"))}},
            [Difference("activities amount", "FEE", "-0.02", "-0.03")],
        ),
        (
            {"activities": {"FEE": Moved(1, Decimal("-0.02")), "DIV": Moved(1, Decimal(3))}},
            [
                Difference("activities number", "DIV", "0", "1"),
                Difference("activities amount", "DIV", "0", "3"),
            ],
        ),
    ],
)
def test_each_difference_is_named(theirs: dict[str, object], expected: list[Difference]) -> None:
    assert compare(BOOKS, replace(BOOKS, **theirs), QUIET) == expected


def test_cash_that_is_not_the_sum_of_its_movements_differs() -> None:
    before = {"trade": Decimal("-10")}
    now = {"trade": Decimal("-30"), "fee": Decimal("-0.01")}
    moved = movement(Decimal(100), before, now, Decimal("79.99"))
    assert moved.parts == {"trade": Decimal(-20), "fee": Decimal("-0.01")}
    assert compare(BOOKS, BOOKS, moved) == []
    short = movement(Decimal(100), before, now, Decimal("79.98"))
    assert compare(BOOKS, BOOKS, short) == [Difference("cash_movement", "", "79.98", "79.99")]


def test_what_stands_is_what_was_not_taken_back() -> None:
    first, second, again = execution("a"), execution("b"), execution("a2", "4")
    third = execution("a3", "3")
    assert standing([first, second], []) == [first, second]
    assert standing([first, second], [reversal("b")]) == [first]
    assert standing([first], [reversal("a", again)]) == [again]
    assert standing([first], [reversal("a", again), reversal("a2", third)]) == [third]


def test_sums_round_once_per_execution_and_keep_the_sides_apart() -> None:
    sums = traded([execution("a", "3"), execution("b", "3"), execution("c", "1", Side.SELL)])
    assert sums["KO buy"] == Traded(2, Decimal(6), Decimal("600.0300"))
    assert sums["KO sell"] == Traded(1, Decimal(1), Decimal("100.0050"))
    assert moved_by([activity("FEE", "-1"), activity("FEE", "-2"), activity("DIV", "3")]) == {
        "FEE": Moved(2, Decimal(-3)), "DIV": Moved(1, Decimal(3))
    }  # fmt: skip


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (dt.datetime(2019, 3, 4, 15, tzinfo=dt.UTC), DAY),
        (dt.datetime(2019, 3, 5, 0, 30, tzinfo=dt.UTC), DAY),  # 19:30 in New York
        (dt.datetime(2019, 3, 5, 1, 0, tzinfo=dt.UTC), dt.date(2019, 3, 5)),
        (dt.datetime(2019, 3, 4, tzinfo=dt.UTC), DAY),  # dated by the day
        (dt.datetime(2019, 3, 9, tzinfo=dt.UTC), dt.date(2019, 3, 11)),  # a Saturday
    ],
)
def test_an_activity_has_its_market_day(at: dt.datetime, day: dt.date) -> None:
    assert day_of(activity("FEE", "-1", at), CALENDAR) == day


def test_a_day_is_due_at_its_close_at_its_end_and_while_it_differs() -> None:
    session = CALENDAR.session_on(DAY)
    assert session is not None
    second = dt.timedelta(seconds=1)
    at_close = Tried(1, True, session.close + second)
    assert not is_due(session, None, session.close - second)
    assert is_due(session, None, session.close)
    assert not is_due(session, at_close, session.close + 2 * second)
    assert is_due(session, at_close, session.post_close)
    assert not is_due(session, replace(at_close, looked_at=session.post_close), session.post_close)
    assert is_due(session, replace(at_close, agrees=False), session.close + 2 * second)
