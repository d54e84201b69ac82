"""The engine on real servers: gaps, duplicates, silence, modes, faults, its API."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from libs.common.contracts.messages import Notification, Signal
from libs.common.kernel.clock import from_ns
from libs.common.strategy import Runner
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import BarFeed, daily_bars
from tests.support.engine_desk import Desk, opened
from tests.support.runtimes import eventually
from tests.support.told import messages

pytestmark = pytest.mark.slow

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
SMA = {"id": "sma_cross", "class_name": "sma_cross", "universe": ["AAPL"], "timeframe": "1d"}
RSI = {
    "id": "rsi_reversion",
    "class_name": "rsi_reversion",
    "universe": ["PG"],
    "timeframe": "1d",
}


Open = Callable[..., Any]


@pytest.fixture
def desk(database_url: str, redis_url: str) -> Open:
    return partial(opened, database_url, redis_url)


def looped(definition: Any, bars: np.ndarray, **params: object) -> list[tuple[Any, float]]:
    steps = Runner(definition, params).run(bars)
    return [
        (from_ns(int(bar["ts"])), float(decision["target"]))
        for bar, decision in zip(bars[steps.changed], steps.decisions[steps.changed], strict=True)
    ]


async def test_missed_bars_are_filled_from_the_table_before_the_next_step(desk: Open) -> None:
    bars = daily_bars("AAPL", 150)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:1])
        await d.seen("sma_cross", "AAPL", bars[0])
        d.feed.store("AAPL", bars[1:149])
        d.feed.close("AAPL", bars[149:])
        await d.seen("sma_cross", "AAPL", bars[149])
        assert d.targets("sma_cross") == looped(SmaCross.definition, bars)


async def test_old_and_repeated_bars_change_nothing(desk: Open) -> None:
    bars = daily_bars("AAPL", 120)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:1])
        await d.seen("sma_cross", "AAPL", bars[0])
        ignored = await d.metric("strategy_bars_ignored_total")
        for i in range(1, 120):
            d.feed.close("AAPL", bars[i : i + 1])
            d.feed.publish("AAPL", bars[max(0, i - 3) : i + 1])
        await d.seen("sma_cross", "AAPL", bars[119])
        assert d.targets("sma_cross") == looped(SmaCross.definition, bars)
        await eventually(
            lambda: _above(d, "strategy_bars_ignored_total", ignored + 119), what="ignored bars"
        )


async def _above(d: Desk, name: str, value: float) -> bool:
    return await d.metric(name) > value


async def test_bar_after_a_hole_waits_for_the_table_and_goes_on_when_it_is_late(
    desk: Open,
) -> None:
    bars = daily_bars("AAPL", 40)
    async with desk(SMA, gap_timeout_s=0.6) as d:
        d.feed.close("AAPL", bars[:38])
        await d.seen("sma_cross", "AAPL", bars[37])
        late = await d.metric('strategy_gaps_total{outcome="timed_out"}')
        bars["ts"][39] += 7 * 86_400 * 10**9
        d.feed.publish("AAPL", bars[39:])
        await asyncio.sleep(0.3)
        assert d.rows("SELECT as_of FROM strategy_states")[0][0] == from_ns(int(bars["ts"][37]))
        await d.seen("sma_cross", "AAPL", bars[39])
        assert await d.metric('strategy_gaps_total{outcome="timed_out"}') == late + 1


async def test_bars_that_nobody_published_come_from_the_table(desk: Open) -> None:
    bars = daily_bars("PG", 80)
    async with desk(RSI, sweep_s=0.2) as d:
        d.feed.close("PG", bars[:1])
        await d.seen("rsi_reversion", "PG", bars[0])
        d.feed.store("PG", bars[1:])
        await d.seen("rsi_reversion", "PG", bars[-1])
        assert d.targets("rsi_reversion") == looped(RsiReversion.definition, bars)


async def test_first_start_warms_up_on_history_without_signals(
    desk: Open, database_url: str, redis_url: str
) -> None:
    bars = daily_bars("AAPL", 61)
    with BarFeed(database_url, redis_url, "1d") as feed:
        feed.store("AAPL", bars[:60])
    async with desk(SMA) as d:
        assert d.targets("sma_cross") == []
        d.feed.close("AAPL", bars[60:])
        await d.seen("sma_cross", "AAPL", bars[60])
        runner = Runner(SmaCross.definition, {})
        runner.warm(bars[30:60])
        assert runner.step(bars[60])
        target = float(runner.decision["target"])
        assert d.targets("sma_cross") == [(from_ns(int(bars["ts"][60])), target)]


async def test_signal_carries_the_story_of_the_batch_that_closed_its_bar(
    desk: Open, redis_url: str
) -> None:
    bars = daily_bars("AAPL", 120)
    stories = {}
    async with desk(SMA) as d:
        for bar in bars:
            stories[from_ns(int(bar["ts"]))] = d.feed.close("AAPL", np.array([bar]))
        await d.seen("sma_cross", "AAPL", bars[-1])
        expected = looped(SmaCross.definition, bars)
        await eventually(
            lambda: len(messages(redis_url, "log:signals", Signal)) == len(expected),
            what="published signals",
        )
        for envelope in messages(redis_url, "log:signals", Signal):
            assert envelope.correlation_id == stories[envelope.payload.bar_ts]
            assert envelope.causation_id is not None
            assert envelope.source == "strategy_engine"


async def test_shadow_signals_are_flagged_and_going_live_states_the_target_again(
    desk: Open, redis_url: str
) -> None:
    bars = daily_bars("AAPL", 41)
    async with desk({**SMA, "mode": "shadow"}) as d:
        d.feed.close("AAPL", bars[:1])
        d.feed.close("AAPL", bars[1:40])
        await d.seen("sma_cross", "AAPL", bars[39])
        assert {row[0] for row in d.rows("SELECT mode FROM signals")} == {"shadow"}
        before = d.targets("sma_cross")
        answer = await d.client.post("/api/v1/strategies/sma_cross/mode", json={"mode": "live"})
        assert (answer.status_code, answer.json()["mode"]) == (200, "live")
        bars["close"][40] = bars["close"][39]
        d.feed.close("AAPL", bars[40:])
        await d.seen("sma_cross", "AAPL", bars[40])
        assert d.targets("sma_cross")[-1] == (from_ns(int(bars["ts"][40])), before[-1][1])
        await eventually(
            lambda: (
                [e.payload.mode for e in messages(redis_url, "log:signals", Signal)][-1] == "live"
            ),
            what="live signal",
        )
        audit = d.rows("SELECT message FROM outbox WHERE stream = 'log:audit.events'")
        assert len(audit) == 1


FAULTY = """
from libs.common.strategy import Strategy

class Faulty(Strategy):
    @staticmethod
    def step(state, bar, params, out):
        if bar.close > 0.0:
            raise ValueError("cannot cope")
"""


async def test_step_that_raises_stops_its_stream_only_and_tells_people(
    desk: Open, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "loops.py").write_text("x = 1\nwhile True: pass\n")
    (tmp_path / "dies.py").write_text("import os\nos.abort()\n")
    bars = daily_bars("AAPL", 100)
    faulty = {**SMA, "id": "mine", "class_name": "faulty"}
    unknown = {**SMA, "id": "typo", "class_name": "sma_cros"}
    folders = [str(BUILT_IN), str(tmp_path)]
    async with desk(SMA, faulty, unknown, strategy_dirs=folders, load_timeout_s=5) as d:
        d.feed.close("AAPL", bars)
        await d.seen("sma_cross", "AAPL", bars[-1])
        assert d.targets("sma_cross") == looped(SmaCross.definition, bars)
        await d.faulted("mine")
        members = (await d.client.get("/api/v1/strategies")).json()["items"]
        states = {m["id"]: (m["status"], m["reason"], m["symbols"]) for m in members}
        assert states["mine"][2][0]["status"] == "faulted"
        assert "cannot cope" in states["mine"][2][0]["reason"]
        assert states["typo"][0] == "absent"
        assert "did you mean sma_cross" in states["typo"][1]
        await eventually(
            lambda: len(messages(redis_url, "log:notifications", Notification)) == 1,
            what="notification",
        )
        (told,) = messages(redis_url, "log:notifications", Notification)
        assert told.payload.fingerprint == "strategy_fault:mine:AAPL"
        classes = (await d.client.get("/api/v1/strategies/classes")).json()
        refused = {r["file"]: (r["line"], r["reason"]) for r in classes["refused"]}
        assert {name: line for name, (line, _) in refused.items()} == {
            "broken.py": 1, "loops.py": 2, "dies.py": 2
        }  # fmt: skip
        # Which of the two limits ends it depends on what else the machine does.
        assert re.search(
            r"took too (much processor time|long).*\(while it was loaded\)", refused["loops.py"][1]
        )
        assert "SIGABRT" in refused["dies.py"][1]


MINE = """
from libs.common.strategy import Strategy, number

class Mine(Strategy):
    class Params:
        share = number(0.25, low=0.0, high=1.0)

    @staticmethod
    def step(state, bar, params, out):
        out.target = params.share
"""


async def test_reload_swaps_code_and_a_broken_file_keeps_what_runs(
    desk: Open, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    bars = daily_bars("AAPL", 6)
    mine = {**SMA, "id": "mine", "class_name": "mine"}
    folder = [str(tmp_path)]
    async with desk(mine, strategy_dirs=folder, trusted_dirs=folder) as d:
        d.feed.close("AAPL", bars[:2])
        await d.seen("mine", "AAPL", bars[1])
        path.write_text(MINE.replace("params.share", "params.sahre"))
        answer = (await d.client.post("/api/v1/strategies/reload")).json()
        assert "did you mean share?" in answer["refused"][0]["reason"]
        d.feed.close("AAPL", bars[2:3])
        await d.seen("mine", "AAPL", bars[2])
        assert [target for _, target in d.targets("mine")] == [0.25]
        path.write_text(MINE.replace("params.share\n", "params.share * 2.0\n"))
        answer = (await d.client.post("/api/v1/strategies/reload")).json()
        assert answer["refused"] == []
        d.feed.close("AAPL", bars[3:])
        await d.seen("mine", "AAPL", bars[-1])
        assert d.targets("mine") == [
            (from_ns(int(bars["ts"][0])), 0.25),
            (from_ns(int(bars["ts"][3])), 0.5),
        ]


async def test_changed_parameters_do_not_meet_the_old_state(desk: Open, database_url: str) -> None:
    bars = daily_bars("AAPL", 90)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[:80])
        await d.seen("sma_cross", "AAPL", bars[79])
    with psycopg.connect(database_url) as connection:
        connection.execute("""UPDATE strategies SET params = '{"fast": 5, "slow": 12}'""")
        connection.execute("DELETE FROM outbox")
        connection.execute("DELETE FROM signals")
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars[80:])
        await d.seen("sma_cross", "AAPL", bars[-1])
        runner = Runner(SmaCross.definition, {"fast": 5, "slow": 12})
        runner.warm(bars[68:80])
        changed = runner.run(bars[80:]).changed
        assert [ts for ts, _ in d.targets("sma_cross")] == [
            from_ns(int(ts)) for ts in bars["ts"][80:][changed]
        ]


async def test_signals_are_listed_in_pages(desk: Open) -> None:
    bars = daily_bars("AAPL", 300)
    async with desk(SMA) as d:
        d.feed.close("AAPL", bars)
        await d.seen("sma_cross", "AAPL", bars[-1])
        expected = looped(SmaCross.definition, bars)
        found: list[str] = []
        after: str | None = None
        while True:
            query = {"limit": "3", "symbol": "AAPL"} | ({"after": after} if after else {})
            page = (await d.client.get("/api/v1/strategies/signals", params=query)).json()
            found += [item["bar_ts"] for item in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert len(found) == len(set(found)) == len(expected)
        detail = (await d.client.get("/api/v1/strategies/sma_cross")).json()
        assert detail["symbols"][0]["bars"] == 300
        assert detail["symbols"][0]["state"]["fast"]["count"] == 10
        assert [field["name"] for field in detail["schema"]] == ["fast", "slow"]


async def test_bad_requests_are_told_what_is_wrong(desk: Open) -> None:
    async with desk(SMA) as d:
        base = "/api/v1/strategies"
        good = await d.client.post(f"{base}/validate", json={"class_name": "sma_cross"})
        assert good.json()["params"] == {"fast": 10, "slow": 30}
        cases: list[tuple[str, str, Any, int, str]] = [
            ("POST", "/validate", {"class_name": "sma_cross", "params": {"fats": 1}}, 422, "fast?"),
            ("POST", "/validate", {"class_name": "sma_cros"}, 404, "sma_cross"),
            ("POST", "/validate", {"class_name": "sma_cross", "extra": 1}, 422, "extra"),
            ("POST", "/sma_cross/mode", {"mode": "off"}, 422, "mode"),
            ("POST", "/sma_cross/mode", {"mode": "live", "x": 1}, 422, "x"),
            ("POST", "/nothing/mode", {"mode": "live"}, 404, "nothing"),
            ("GET", "/nothing", None, 404, "sma_cross"),
            ("GET", "/signals?limit=0", None, 422, "limit"),
            ("GET", "/signals?after=%21%21", None, 422, "cursor"),
            ("GET", "/signals?symbol=%24", None, 422, "symbol"),
            ("GET", "/signals?surprise=1", None, 422, "surprise"),
        ]
        for method, path, body, status, word in cases:
            answer = await d.client.request(method, base + path, json=body)
            assert answer.status_code == status, (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert word in answer.text, (path, answer.text)
        malformed = await d.client.post(
            f"{base}/validate", content=b"{", headers={"content-type": "application/json"}
        )
        assert malformed.status_code == 422
