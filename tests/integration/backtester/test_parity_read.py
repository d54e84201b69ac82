"""A session that PostgreSQL holds, read back and compared with its replay."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from libs.common.backtest.parity.report import parity_of
from libs.common.backtest.shelf import load_named
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.quant.simulation.models import Models
from services.backtester.adapters.session_reader import last_day, read_session
from tests.support.recorded import BARS, BUILT_IN, MINUTE, OPEN, record, store_bar


def test_a_recorded_session_is_read_and_its_decisions_are_the_same(database_url: str) -> None:
    count = record(database_url)
    start, end = to_ns(OPEN), to_ns(OPEN) + BARS * MINUTE
    session = read_session(database_url, start, end, "main")
    assert len(session.signals) == count > 5
    assert session.strategies[0].sizing.figure == 0.04
    found = parity_of(session, load_named(["sma_cross"], [BUILT_IN]), Models())
    assert found.decisions.same == count
    assert found.decisions.differences == ()
    # Nobody judged them: that is told, order by order.
    assert {each.cause for each in found.orders.differences} == {"latency"}
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE signals SET target = 0.5 WHERE bar_ts = (SELECT max(bar_ts) FROM signals)"
        )
    wrong = parity_of(
        read_session(database_url, start, end, "main"),
        load_named(["sma_cross"], [BUILT_IN]),
        Models(),
    )
    assert len(wrong.decisions.differences) == 1


def test_a_session_is_the_last_one_once_it_is_over(database_url: str) -> None:
    assert last_day(database_url) is None
    record(database_url)
    assert last_day(database_url) is None  # its bars end at 12:49 in New York
    store_bar(database_url, OPEN.replace(hour=20, minute=54))
    assert last_day(database_url) is None
    store_bar(database_url, OPEN.replace(hour=20, minute=55))
    assert last_day(database_url) == "2024-01-02"
    store_bar(database_url, OPEN + timedelta(days=1))
    assert last_day(database_url) == "2024-01-02"


def test_a_time_without_signals_and_a_database_that_is_away_are_told(database_url: str) -> None:
    with pytest.raises(InvalidInputError, match="no signal is recorded"):
        read_session(database_url, 0, 10, "main")
    with pytest.raises(UnavailableError, match="database"):
        read_session("postgresql://nobody@127.0.0.1:1/nothing", 0, 10, "main")
