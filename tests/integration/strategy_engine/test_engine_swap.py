"""Strategies exchanged while they run, and back again, on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.kernel.clock import from_ns
from libs.common.strategy import Runner
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import daily_bars
from tests.support.engine_desk import Desk, opened
from tests.support.runtimes import eventually

pytestmark = pytest.mark.slow

BASE = "/api/v1/strategies"
BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
SMA = {"id": "mine", "class_name": "sma_cross", "universe": ["AAPL"], "timeframe": "1d"}
OTHER = {"id": "other", "class_name": "rsi_reversion", "universe": ["AAPL"], "timeframe": "1d"}
Open = Callable[..., Any]


@pytest.fixture
def desk(database_url: str, redis_url: str) -> Open:
    return partial(opened, database_url, redis_url)


def signals(runner: Runner, bars: np.ndarray) -> list[Any]:
    steps = runner.run(bars)
    return [
        (from_ns(int(bar["ts"])), float(decision["target"]))
        for bar, decision in zip(bars[steps.changed], steps.decisions[steps.changed], strict=True)
    ]


async def fed(d: Desk, bars: np.ndarray, strategy_id: str = "mine") -> None:
    d.feed.close("AAPL", bars)
    await d.seen(strategy_id, "AAPL", bars[-1])


def events(d: Desk) -> list[str]:
    rows = d.rows(
        "SELECT convert_from(message, 'UTF8')::jsonb -> 'payload' ->> 'event_type' FROM outbox"
        " WHERE stream = 'log:audit.events' ORDER BY seq"
    )
    return [row[0] for row in rows]


async def test_swapped_and_rolled_back_strategy_signals_as_if_each_had_run_all_the_time(
    desk: Open,
) -> None:
    bars = daily_bars("AAPL", 240)
    async with desk(SMA, OTHER) as d:
        await fed(d, bars[:100])
        answer = await d.client.post(f"{BASE}/mine/swap", json={"params": {"slow": 20}})
        assert answer.status_code == 200, answer.text
        swapped = answer.json()["swap"]
        assert (swapped["status"], swapped["carried"]) == ("exchanged", [])
        (proof,) = swapped["proof"]
        assert proof["bars"] == 100
        assert proof["differing"] > 0
        await fed(d, bars[100:170])
        answer = await d.client.post(f"{BASE}/mine/swap", json={"rollback": True})
        assert answer.json()["params"] == {}, answer.text
        await fed(d, bars[170:])
        old, new = Runner(SmaCross.definition, {}), Runner(SmaCross.definition, {"slow": 20})
        wanted = signals(old, bars[:100])
        new.warm(bars[80:100])
        wanted += signals(new, bars[100:170])
        old.run(bars[100:170])
        old.forget_stated()
        wanted += signals(old, bars[170:])
        assert d.targets("mine") == wanted
        # The old one's memory is that of one that was never away.
        (state,) = d.rows("SELECT state FROM strategy_states WHERE strategy_id = 'mine'")
        assert bytes(state[0]) == old.save()
        assert d.targets("other") == signals(Runner(RsiReversion.definition, {}), bars)
        assert events(d) == ["strategy.swapped", "strategy.rolled_back"]


FILE = """
from libs.common.strategy import Strategy
import numpy as np

class Counter(Strategy):
    class State:
        seen = np.int64

    @staticmethod
    def step(state, bar, params, out):
        state.seen += 1
        out.target = SHARE if state.seen % 2 == 0 else 0.0
"""


async def test_new_code_with_the_same_layout_goes_on_with_the_memory_of_the_old(
    desk: Open, tmp_path: Path
) -> None:
    path = tmp_path / "counter.py"
    path.write_text(FILE.replace("SHARE", "0.5"))
    bars = daily_bars("AAPL", 12)
    mine = {**SMA, "class_name": "counter"}
    other = {**SMA, "id": "second", "class_name": "counter"}
    folder = {"strategy_dirs": [str(tmp_path)], "trusted_dirs": [str(tmp_path)]}
    async with desk(mine, other, **folder) as d:
        await fed(d, bars[:5])
        path.write_text(FILE.replace("SHARE", "0.25"))
        answer = await d.client.post(f"{BASE}/mine/swap", json={})
        assert answer.json()["swap"]["carried"] == ["AAPL"], answer.text
        await fed(d, bars[5:9])
        # The other strategy of the class keeps the code that it runs.
        await d.seen("second", "AAPL", bars[8])
        assert [target for _, target in d.targets("second")] == [0, 0.5] * 4 + [0]
        assert [target for _, target in d.targets("mine")][5:] == [0.25, 0, 0.25, 0]
        (state,) = d.rows("SELECT bars FROM strategy_states WHERE strategy_id = 'mine'")
        assert state[0] == 9
        again = await d.client.post(f"{BASE}/mine/swap", json={})
        assert (again.status_code, "nothing to swap" in again.text) == (409, True)
        path.write_text(FILE.replace("SHARE", "no_such_name"))
        refused = await d.client.post(f"{BASE}/mine/swap", json={})
        assert refused.status_code == 422
        assert "counter.py" in refused.json()["detail"]
        path.write_text(FILE.replace("SHARE", "1.5"))
        refused = await d.client.post(f"{BASE}/mine/swap", json={})
        assert "out of range on bar" in refused.json()["detail"]
        await fed(d, bars[9:])
        assert [target for _, target in d.targets("mine")][9:] == [0.25, 0, 0.25]


async def test_swap_goes_along_in_shadow_before_it_is_exchanged(desk: Open) -> None:
    bars = daily_bars("AAPL", 120)
    async with desk(SMA) as d:
        await fed(d, bars[:60])
        wish = {"class_name": "rsi_reversion", "shadow_bars": 10}
        answer = await d.client.post(f"{BASE}/mine/swap", json=wish)
        assert (answer.status_code, answer.json()["swap"]["status"]) == (202, "shadowing")
        again = await d.client.post(f"{BASE}/mine/swap", json=wish)
        assert (again.status_code, "under way" in again.text) == (409, True)
        await fed(d, bars[60:69])
        detail = (await d.client.get(f"{BASE}/mine")).json()
        assert (detail["class_name"], detail["swap"]["shadowed"]) == ("sma_cross", 9)
        await fed(d, bars[69:70])

        async def exchanged() -> bool:
            view = (await d.client.get(f"{BASE}/mine")).json()
            return bool(view["class_name"] == "rsi_reversion")

        await eventually(exchanged, what="exchange")
        await fed(d, bars[70:])
        old, new = Runner(SmaCross.definition, {}), Runner(RsiReversion.definition, {})
        wanted = signals(old, bars[:70])
        new.warm(bars[60 - new.warmup : 60])
        new.run(bars[60:70])
        new.forget_stated()
        assert d.targets("mine") == wanted + signals(new, bars[70:])


async def test_swap_in_shadow_is_cancelled_or_refused_and_the_old_one_goes_on(
    desk: Open, tmp_path: Path
) -> None:
    # It copes with the stored bars and fails on a live one.
    (tmp_path / "fails.py").write_text(
        "from libs.common.strategy import Strategy\n\n\nclass Fails(Strategy):\n"
        "    @staticmethod\n    def step(state, bar, params, out):\n"
        f"        if bar.ts > {int(daily_bars('AAPL', 60)['ts'][42])}:\n"
        "            raise ValueError('cannot cope')\n        out.target = 1.0\n"
    )
    bars = daily_bars("AAPL", 60)
    async with desk(SMA, strategy_dirs=[str(BUILT_IN), str(tmp_path)]) as d:
        await fed(d, bars[:40])
        wish = {"params": {"slow": 20}, "shadow_bars": 5}
        assert (await d.client.post(f"{BASE}/mine/swap", json=wish)).status_code == 202
        cancelled = (await d.client.delete(f"{BASE}/mine/swap")).json()
        assert cancelled["status"] == "cancelled"
        assert (await d.client.delete(f"{BASE}/mine/swap")).status_code == 404
        wish = {"class_name": "fails", "shadow_bars": 5}
        assert (await d.client.post(f"{BASE}/mine/swap", json=wish)).status_code == 202
        await fed(d, bars[40:])

        async def refused() -> bool:
            swap = (await d.client.get(f"{BASE}/mine")).json()["swap"]
            return swap["status"] == "refused" and "fails.py:8" in swap["reason"]

        await eventually(refused, what="refusal")
        assert d.targets("mine") == signals(Runner(SmaCross.definition, {}), bars)
        assert events(d) == []


async def test_bars_that_arrive_during_swaps_are_neither_lost_nor_doubled(desk: Open) -> None:
    bars = daily_bars("AAPL", 200)
    async with desk({**OTHER, "id": "mine"}, OTHER) as d:
        await fed(d, bars[:50])

        async def close_bars() -> None:
            for i in range(50, 200):
                await asyncio.to_thread(d.feed.close, "AAPL", bars[i : i + 1])

        async def swap_to_and_fro() -> None:
            for i in range(6):
                body = {"rollback": True} if i % 2 else {"params": {"window": 3}}
                answer = await d.client.post(f"{BASE}/mine/swap", json=body)
                assert answer.status_code == 200, answer.text

        await asyncio.gather(close_bars(), swap_to_and_fro())
        await d.seen("mine", "AAPL", bars[-1])
        await d.seen("other", "AAPL", bars[-1])
        whole = signals(Runner(RsiReversion.definition, {}), bars)
        assert d.targets("other") == whole
        (row,) = d.rows("SELECT state, bars FROM strategy_states WHERE strategy_id = 'mine'")
        # Six swaps end where they began: every bar was seen once by what runs now.
        runner = Runner(RsiReversion.definition, {})
        runner.run(bars)
        assert row[1] == 200
        assert (
            np.frombuffer(bytes(row[0]), runner.definition.memory)[0]["state"]
            == (runner.memory["state"])
        )


async def test_rollback_after_a_restart_needs_the_same_code(desk: Open, tmp_path: Path) -> None:
    path = tmp_path / "counter.py"
    path.write_text(FILE.replace("SHARE", "0.5"))
    bars = daily_bars("AAPL", 8)
    folders = [str(BUILT_IN), str(tmp_path)]
    folder = {"strategy_dirs": folders, "trusted_dirs": folders}
    async with desk({**SMA, "class_name": "counter"}, **folder) as d:
        never = await d.client.post(f"{BASE}/mine/swap", json={"rollback": True})
        assert (never.status_code, "never been swapped" in never.text) == (409, True)
        await fed(d, bars[:3])
        swapped = await d.client.post(f"{BASE}/mine/swap", json={"class_name": "sma_cross"})
        assert swapped.status_code == 200, swapped.text
    good = path.read_text()
    path.write_text(FILE.replace("SHARE", "0.25"))
    async with desk(**folder) as d:
        gone = await d.client.post(f"{BASE}/mine/swap", json={"rollback": True})
        assert (gone.status_code, "no longer at hand" in gone.text) == (409, True)
        path.write_text(good)
        back = await d.client.post(f"{BASE}/mine/swap", json={"rollback": True})
        assert (back.status_code, back.json()["class_name"]) == (200, "counter")
        cases: list[tuple[str, Any, int, str]] = [
            ("nothing", {}, 404, "nothing"),
            ("mine", {"class_name": "sma_cros"}, 422, "did you mean sma_cross"),
            ("mine", {"class_name": "sma_cross", "params": {"fats": 3}}, 422, "did you mean fast"),
            ("mine", {"class_name": "sma_cross", "params": {"fast": 1}}, 422, "between 2 and 200"),
            ("mine", {"rollback": True, "params": {}}, 422, "leave class_name and params away"),
            ("mine", {"shadow_bars": -1}, 422, "shadow_bars"),
            ("mine", {"replay_bars": 0}, 422, "replay_bars"),
            ("mine", {"colour": 1}, 422, "colour"),
        ]
        for name, body, status, word in cases:
            answer = await d.client.post(f"{BASE}/{name}/swap", json=body)
            assert (answer.status_code, word in answer.text) == (status, True), answer.text
