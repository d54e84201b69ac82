"""Strategies added, changed and disabled at run time, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from libs.common.kernel.clock import from_ns
from libs.common.strategy import Runner
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import BarFeed, daily_bars
from tests.support.engine_desk import opened

pytestmark = pytest.mark.slow

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
BASE = "/api/v1/strategies"
SMA = {"id": "sma_cross", "class_name": "sma_cross", "universe": ["AAPL"], "timeframe": "1d"}
RSI = {"id": "rsi", "class_name": "rsi_reversion", "universe": ["AAPL"], "timeframe": "1d"}
Open = Callable[..., Any]


@pytest.fixture
def desk(database_url: str, redis_url: str) -> Open:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO instruments (symbol, exchange, asset_class, tick_size, lot_size,"
            " tradable, shortable, fractionable)"
            " VALUES (%s, 'NYSE', 'us_equity', 0.01, 1, true, true, true)",
            [("AAPL",), ("PG",), ("TSLA",)],
        )
    return partial(opened, database_url, redis_url)


def looped(definition: Any, bars: np.ndarray, begin: int, **params: object) -> list[Any]:
    """Return the signals of a strategy that begins with bar `begin`, warmed up before."""
    runner = Runner(definition, params)
    runner.warm(bars[max(0, begin - runner.warmup) : begin])
    rest = bars[begin:]
    steps = runner.run(rest)
    return [
        (from_ns(int(bar["ts"])), float(decision["target"]))
        for bar, decision in zip(rest[steps.changed], steps.decisions[steps.changed], strict=True)
    ]


async def test_added_strategy_begins_with_the_next_bar_and_disturbs_nobody(desk: Open) -> None:
    bars = daily_bars("AAPL", 120)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:60])
        await d.seen("sma_cross", "AAPL", bars[59])
        answer = await d.client.post(BASE, json=RSI)
        assert answer.status_code == 201, answer.text
        added = answer.json()
        assert (added["mode"], added["status"]) == ("shadow", "running")
        assert added["symbols"][0]["as_of"] == from_ns(int(bars["ts"][59])).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        )
        d.feed.close("AAPL", bars[60:])
        await d.seen("rsi", "AAPL", bars[-1])
        await d.seen("sma_cross", "AAPL", bars[-1])
        assert d.targets("rsi") == looped(RsiReversion.definition, bars, 60)
        assert d.targets("sma_cross") == looped(SmaCross.definition, bars, 0)
        assert set(d.rows("SELECT mode FROM signals WHERE strategy_id = 'rsi'")) == {("shadow",)}
        (event,) = d.rows("SELECT message FROM outbox WHERE stream = 'log:audit.events'")
        assert b'"strategy.added"' in bytes(event[0])


async def test_bars_that_arrive_during_changes_are_neither_lost_nor_doubled(desk: Open) -> None:
    bars = daily_bars("AAPL", 300)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:1])
        await d.seen("sma_cross", "AAPL", bars[0])

        async def close_bars() -> None:
            for i in range(1, 300):
                # In a thread: the engine, in this one, may hold the table that a new month needs.
                await asyncio.to_thread(d.feed.close, "AAPL", bars[i : i + 1])

        async def change_things() -> None:
            for i in range(6):
                body = {**RSI, "id": f"rsi_{i}", "mode": "live"}
                assert (await d.client.post(BASE, json=body)).status_code == 201
                await d.client.patch(f"{BASE}/rsi_{i}", json={"params": {"window": 3 + i}})
                assert (await d.client.delete(f"{BASE}/rsi_{i}")).status_code == 200
                await asyncio.sleep(0.05)

        await asyncio.gather(close_bars(), change_things())
        await d.seen("sma_cross", "AAPL", bars[-1])
        assert d.targets("sma_cross") == looped(SmaCross.definition, bars, 0)
        detail = (await d.client.get(f"{BASE}/sma_cross")).json()
        assert detail["symbols"][0]["bars"] == 300


async def test_strategy_on_a_new_feed_begins_with_its_first_bar(desk: Open) -> None:
    bars = daily_bars("PG", 80)
    async with desk(SMA) as d:
        d.feed.store("PG", bars[:50])
        answer = await d.client.post(BASE, json={**RSI, "universe": ["PG"]})
        assert answer.status_code == 201, answer.text
        d.feed.close("PG", bars[50:51])
        await d.seen("rsi", "PG", bars[50])
        d.feed.close("PG", bars[51:])
        await d.seen("rsi", "PG", bars[-1])
        assert d.targets("rsi") == looped(RsiReversion.definition, bars, 50)


async def test_changed_parameters_are_warmed_up_where_the_strategy_stands(desk: Open) -> None:
    bars = daily_bars("AAPL", 90)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:60])
        await d.seen("sma_cross", "AAPL", bars[59])
        before = d.targets("sma_cross")
        answer = await d.client.patch(f"{BASE}/sma_cross", json={"params": {"slow": 20}})
        assert answer.json()["symbols"][0]["params"] == {"fast": 10, "slow": 20}
        d.feed.close("AAPL", bars[60:])
        await d.seen("sma_cross", "AAPL", bars[-1])
        anew = looped(SmaCross.definition, bars, 60, slow=20)
        assert d.targets("sma_cross") == before + anew
        answer = await d.client.patch(f"{BASE}/sma_cross", json={"params": {"slow": None}})
        assert answer.json()["symbols"][0]["params"] == {"fast": 10, "slow": 30}


async def test_configuration_survives_a_restart(desk: Open) -> None:
    bars = daily_bars("AAPL", 120)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:60])
        await d.seen("sma_cross", "AAPL", bars[59])
        await d.client.post(BASE, json={**RSI, "params": {"window": 3}, "weight": 0.5})
        await d.client.delete(f"{BASE}/sma_cross")
        d.feed.close("AAPL", bars[60:80])
        await d.seen("rsi", "AAPL", bars[79])
    async with desk() as d:
        items = (await d.client.get(BASE)).json()["items"]
        states = {item["id"]: item["status"] for item in items}
        assert states == {"rsi": "running", "sma_cross": "disabled"}
        rsi = items[0]
        assert (Decimal(rsi["weight"]), rsi["params"]) == (Decimal("0.5"), {"window": 3})
        d.feed.close("AAPL", bars[80:])
        await d.seen("rsi", "AAPL", bars[-1])
        assert d.targets("rsi") == looped(RsiReversion.definition, bars, 60, window=3)


async def test_disabled_strategy_gives_no_signal_for_the_time_it_was_away(desk: Open) -> None:
    bars = daily_bars("AAPL", 120)
    async with desk(SMA, {**RSI, "mode": "live"}) as d:
        d.feed.close("AAPL", bars[:40])
        await d.seen("rsi", "AAPL", bars[39])
        kept = d.targets("rsi")
        answer = await d.client.delete(f"{BASE}/rsi")
        assert (answer.status_code, answer.json()["status"]) == (200, "disabled")
        again = await d.client.delete(f"{BASE}/rsi")
        assert (again.status_code, again.json()["symbols"]) == (200, [])
        d.feed.close("AAPL", bars[40:80])
        await d.seen("sma_cross", "AAPL", bars[79])
        answer = await d.client.patch(f"{BASE}/rsi", json={"enabled": True})
        assert (answer.json()["status"], answer.json()["mode"]) == ("running", "live")
        d.feed.close("AAPL", bars[80:])
        await d.seen("rsi", "AAPL", bars[-1])
        assert d.targets("rsi") == kept + looped(RsiReversion.definition, bars, 80)


async def test_symbols_that_stay_go_on_while_others_come_and_go(desk: Open) -> None:
    apple, procter = daily_bars("AAPL", 100), daily_bars("PG", 100)
    async with desk({**RSI, "universe": ["AAPL"]}) as d:
        d.feed.close("AAPL", apple[:60])
        await d.seen("rsi", "AAPL", apple[59])
        d.feed.store("PG", procter[:60])
        answer = await d.client.patch(f"{BASE}/rsi", json={"universe": ["AAPL", "PG"]})
        assert [row["bars"] for row in answer.json()["symbols"]] == [60, 0]
        d.feed.close("PG", procter[60:61])
        await d.seen("rsi", "PG", procter[60])
        d.feed.close("PG", procter[61:])
        d.feed.close("AAPL", apple[60:])
        await d.seen("rsi", "PG", procter[-1])
        await d.seen("rsi", "AAPL", apple[-1])
        # Both symbols of the strategy: AAPL all the way, PG from its first bar on.
        both = looped(RsiReversion.definition, apple, 0)
        both += looped(RsiReversion.definition, procter, 60)
        assert sorted(d.targets("rsi")) == sorted(both)
        await d.client.patch(f"{BASE}/rsi", json={"universe": ["PG"]})
        assert d.rows("SELECT symbol FROM strategy_states") == [("PG",)]


FAULTY = """
from libs.common.strategy import Strategy, integer

class Faulty(Strategy):
    class Params:
        cope = integer(0, low=0, high=1)

    @staticmethod
    def step(state, bar, params, out):
        if params.cope == 0:
            raise ValueError("cannot cope")
        out.target = 0.5
"""


async def test_faulted_strategy_runs_again_with_parameters_that_cure_it(
    desk: Open, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    bars = daily_bars("AAPL", 6)
    mine = {**SMA, "id": "mine", "class_name": "faulty"}
    folders = [str(BUILT_IN), str(tmp_path)]
    async with desk(SMA, mine, strategy_dirs=folders, trusted_dirs=folders) as d:
        d.feed.close("AAPL", bars[:2])
        await d.seen("sma_cross", "AAPL", bars[1])
        await d.faulted("mine")
        answer = await d.client.patch(f"{BASE}/mine", json={"weight": "2"})
        assert answer.json()["symbols"][0]["status"] == "faulted"
        answer = await d.client.patch(f"{BASE}/mine", json={"params": {"cope": 1}})
        assert answer.json()["symbols"][0]["status"] == "running"
        d.feed.close("AAPL", bars[2:])
        await d.seen("mine", "AAPL", bars[-1])
        assert d.targets("mine") == [(from_ns(int(bars["ts"][2])), 0.5)]


async def test_bad_configurations_are_told_what_is_wrong(desk: Open) -> None:
    cases: list[tuple[str, str, Any, int, str]] = [
        ("POST", "", {**RSI, "class_name": "rsi_reversal"}, 422, "did you mean rsi_reversion"),
        ("POST", "", {**RSI, "params": {"windw": 3}}, 422, "did you mean window?"),
        ("POST", "", {**RSI, "params": {"window": 1}}, 422, "between 2 and 100"),
        ("POST", "", {**RSI, "params": {"window": "3"}}, 422, "whole number"),
        ("POST", "", {**RSI, "params": {"window": True}}, 422, "whole number"),
        ("POST", "", {**RSI, "params": {"window": 10**400}}, 422, "between 2 and 100"),
        ("POST", "", {**RSI, "universe": []}, 422, "universe"),
        ("POST", "", {**RSI, "universe": ["PG", "PG"]}, 422, "named twice: PG"),
        ("POST", "", {**RSI, "universe": ["PGG"]}, 422, "did you mean PG"),
        ("POST", "", {**RSI, "universe": ["aapl"]}, 422, "did you mean AAPL"),
        ("POST", "", {**RSI, "universe": ["AAPL", "TSLA"]}, 422, "TSLA is not collected"),
        ("POST", "", {**RSI, "universe": ["TSLA"]}, 422, "make run SYMBOLS="),
        ("POST", "", {**RSI, "universe": ["A$"]}, 422, "universe"),
        ("POST", "", {**RSI, "timeframe": "2m"}, 422, "timeframe"),
        ("POST", "", {**RSI, "weight": 0}, 422, "weight"),
        ("POST", "", {**RSI, "weight": 100}, 422, "weight"),
        ("POST", "", {**RSI, "weight": "NaN"}, 422, "weight"),
        ("POST", "", {**RSI, "weight": "0.1234567"}, 422, "weight"),
        ("POST", "", {**RSI, "mode": "paper"}, 422, "mode"),
        ("POST", "", {**RSI, "id": "Mine!"}, 422, "id"),
        ("POST", "", {**RSI, "colour": "red"}, 422, "colour"),
        ("POST", "", {**RSI, "id": "sma_cross"}, 409, "sma_cross"),
        ("PATCH", "/nothing", {"enabled": True}, 404, "sma_cross"),
        ("PATCH", "/sma_cross", {}, 422, "nothing to change"),
        ("PATCH", "/sma_cross", {"timeframe": "1m"}, 422, "timeframe"),
        ("PATCH", "/sma_cross", {"params": {"fast": 50}}, 422, "must be less than slow"),
        ("PATCH", "/sma_cross", {"universe": ["TSLA"]}, 422, "TSLA is not collected"),
        ("PATCH", "/sma_cross", {"enabled": "yes"}, 422, "enabled"),
        ("DELETE", "/nothing", None, 404, "sma_cross"),
    ]
    async with desk(SMA) as d:
        before = (await d.client.get(BASE)).json()
        for method, path, body, status, word in cases:
            answer = await d.client.request(method, BASE + path, json=body)
            assert answer.status_code == status, (body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert word in answer.text, (body, answer.text)
        assert (await d.client.get(BASE)).json() == before
        await d.client.delete(f"{BASE}/sma_cross")
        taken = await d.client.post(BASE, json={**RSI, "id": "sma_cross"})
        assert taken.status_code == 409
        assert "history stays" in taken.json()["detail"]


async def test_strategy_on_symbols_that_are_no_longer_collected_says_so(
    desk: Open, database_url: str, redis_url: str
) -> None:
    async with desk(SMA, symbols="PG") as d:
        (item,) = (await d.client.get(BASE)).json()["items"]
        assert item["uncollected"] == ["AAPL"]


async def test_change_while_the_bar_waits_for_its_gap_loses_nothing(
    desk: Open, database_url: str, redis_url: str
) -> None:
    bars = daily_bars("AAPL", 60)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:40])
        await d.seen("sma_cross", "AAPL", bars[39])
        d.feed.publish("AAPL", bars[50:51])
        await d.client.post(BASE, json=RSI)
        with BarFeed(database_url, redis_url, "1d") as table:
            table.store("AAPL", bars[40:51])
        await d.seen("rsi", "AAPL", bars[50])
        d.feed.close("AAPL", bars[51:])
        await d.seen("rsi", "AAPL", bars[-1])
        await d.seen("sma_cross", "AAPL", bars[-1])
        assert d.targets("sma_cross") == looped(SmaCross.definition, bars, 0)
        assert d.targets("rsi") == looped(RsiReversion.definition, bars, 40)
