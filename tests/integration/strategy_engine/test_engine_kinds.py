"""Strategies on a universe, on longer timeframes and in Python, live; and those that misbehave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns
from libs.common.strategy import Runner
from libs.common.strategy.kinds import runner_of
from libs.common.strategy.loader import load_file
from libs.common.strategy.protocol import Stepper
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import daily_bars
from tests.support.engine_desk import Desk, opened
from tests.support.runtimes import eventually

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
SMA = {"id": "sma", "class_name": "sma_cross", "universe": ["AAPL"], "timeframe": "1d"}
Open = Callable[..., Any]

CROSS = """
import numpy as np
from libs.common.strategy import CrossStrategy

class Strongest(CrossStrategy):
    universe_max = 8

    class State:
        first = np.dtype(("f8", (8,)))

    @staticmethod
    def step(state, bars, params, out):
        best = 0
        for i in range(len(bars)):
            if bars[i].ts == 0:
                continue
            if state.first[i] == 0.0:
                state.first[i] = bars[i].close
            if bars[i].close / state.first[i] > bars[best].close / state.first[best]:
                best = i
        for i in range(len(bars)):
            out[i].target = 1.0 if i == best else 0.0
"""

FRAMED = """
from libs.common.strategy import Strategy

class Daily(Strategy):
    timeframes = ("1d",)

    @staticmethod
    def step(state, bar, frames, params, out):
        if frames[0].fresh:
            out.target = 1.0 if frames[0].close > frames[0].open else -1.0
"""

PYTHON = """
from libs.common.strategy import PythonStrategy, integer

class Momentum(PythonStrategy):
    history = 20

    class Params:
        window = integer(10, low=2, high=20)

    class State:
        ups = 0

    def step(self, bar, out):
        closes = self.frame["close"]
        if len(closes) < self.params.window:
            return
        rising = closes.iloc[-1] > closes.iloc[-self.params.window:].mean()
        self.state.ups += int(rising)
        out.target = 1.0 if rising else 0.0
"""


@pytest.fixture
def desk(database_url: str, redis_url: str, tmp_path: Path) -> Open:
    folders = [str(BUILT_IN), str(tmp_path)]
    return partial(opened, database_url, redis_url, strategy_dirs=folders)


def in_time(runner: Stepper, prices: dict[str, np.ndarray]) -> list[tuple[Any, ...]]:
    """Return the signals of stepping over all bars, one time after the other."""
    found = []
    for ts in sorted({int(ts) for bars in prices.values() for ts in bars["ts"]}):
        moment = {s: b[b["ts"] == ts][0] for s, b in prices.items() if (b["ts"] == ts).any()}
        for stated in runner.take(moment):
            found.append((stated.symbol, from_ns(ts), float(stated.decision["target"])))
    return sorted(found)


def stored(d: Desk, strategy_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT symbol, bar_ts, target FROM signals WHERE strategy_id = '{}' ORDER BY 1, 2"
    return sorted(d.rows(query.format(strategy_id)))


def state_of(d: Desk, strategy_id: str) -> bytes:
    (row,) = d.rows(f"SELECT state FROM strategy_states WHERE strategy_id = '{strategy_id}'")
    return bytes(row[0])


def defined(path: Path, text: str) -> Any:
    path.write_text(text)
    (loaded,) = load_file(path)
    return loaded.definition


@pytest.mark.parametrize("trusted", [True, False])
async def test_strategy_on_a_universe_waits_for_every_symbol_and_equals_the_loop(
    desk: Open, tmp_path: Path, seed: int, trusted: bool
) -> None:
    definition = defined(tmp_path / "strongest.py", CROSS)
    prices = {symbol: daily_bars(symbol, 80) for symbol in ("AAPL", "PG", "XOM")}
    # A symbol that misses some days, as one that was halted.
    prices["PG"] = np.delete(prices["PG"], [20, 21, 40])
    mine = {**SMA, "id": "mine", "class_name": "strongest", "universe": list(prices)}
    chance = random.Random(seed)
    more = {"trusted_dirs": [str(BUILT_IN), str(tmp_path)]} if trusted else {}
    runner = runner_of(definition, {}, list(prices), Timeframe.DAY)
    async with desk(mine, SMA, panel_wait_s=30, **more) as d:
        begin(d, prices, 1)
        await d.seen("mine", "*", prices["AAPL"][0])
        for ts in prices["AAPL"]["ts"][1:60]:
            closing = [s for s, bars in prices.items() if (bars["ts"] == ts).any()]
            chance.shuffle(closing)
            for symbol in closing:
                bars = prices[symbol]
                # Some bars are stored and never published.
                tell = d.feed.store if chance.random() < 0.1 else d.feed.close
                tell(symbol, bars[bars["ts"] == ts])
        await d.seen("mine", "*", prices["AAPL"][57])
    async with desk(panel_wait_s=30, sweep_s=0.3, **more) as d:
        for symbol, bars in prices.items():
            d.feed.close(symbol, bars[bars["ts"] > prices["AAPL"]["ts"][59]])
        await d.seen("mine", "*", prices["AAPL"][-1])
        await d.seen("sma", "AAPL", prices["AAPL"][-1])
        wanted = in_time(runner, prices)
        assert len(wanted) > 10
        assert stored(d, "mine") == wanted
        assert state_of(d, "mine") == runner.save()
        detail = (await d.client.get("/api/v1/strategies/mine")).json()
        assert [row["symbol"] for row in detail["symbols"]] == list(prices)
        assert d.targets("sma") == targets(Runner(SmaCross.definition, {}), prices["AAPL"])


async def test_strategies_on_a_universe_and_in_python_are_swapped_after_bars_in_shadow(
    desk: Open, tmp_path: Path
) -> None:
    cross = defined(tmp_path / "strongest.py", CROSS)
    other = defined(
        tmp_path / "weakest.py",
        CROSS.replace("Strongest", "Weakest").replace("> bars[best]", "< bars[best]"),
    )
    python = defined(tmp_path / "momentum.py", PYTHON)
    prices = {symbol: daily_bars(symbol, 70) for symbol in ("AAPL", "PG")}
    universe = {**SMA, "id": "wide", "class_name": "strongest", "universe": list(prices)}
    single = {**SMA, "id": "plain", "class_name": "momentum", "params": {"window": 10}}
    more = {"trusted_dirs": [str(BUILT_IN), str(tmp_path)], "panel_wait_s": 30}

    def part(first: int, last: int) -> dict[str, np.ndarray]:
        return {symbol: bars[first:last] for symbol, bars in prices.items()}

    async def fed(d: Desk, first: int, last: int) -> None:
        for i in range(first, last):
            for symbol, bars in prices.items():
                d.feed.close(symbol, bars[i : i + 1])
        await d.seen("wide", "*", prices["AAPL"][last - 1])
        await d.seen("plain", "AAPL", prices["AAPL"][last - 1])

    async with desk(universe, single, **more) as d:
        await fed(d, 0, 40)
        wishes = {
            "wide": {"class_name": "weakest", "shadow_bars": 5},
            "plain": {"params": {"window": 4}, "shadow_bars": 5},
        }
        for strategy_id, wish in wishes.items():
            answer = await d.client.post(f"/api/v1/strategies/{strategy_id}/swap", json=wish)
            assert answer.status_code == 202, answer.text
        await fed(d, 40, 45)
        for strategy_id in wishes:
            await exchanged(d, strategy_id)
        await fed(d, 45, 70)
        wide = runner_of(cross, {}, list(prices), Timeframe.DAY)
        new = runner_of(other, {}, list(prices), Timeframe.DAY)
        new.warm(part(40 - max(new.warmup, 1), 40))
        new.decide(part(40, 45))
        new.forget_stated()
        expected = sorted(in_time(wide, part(0, 45)) + in_time(new, part(45, 70)))
        assert stored(d, "wide") == expected
        plain = runner_of(python, {"window": 10}, ["AAPL"])
        changed = runner_of(python, {"window": 4}, ["AAPL"])
        one = {"AAPL": prices["AAPL"]}
        changed.warm({"AAPL": one["AAPL"][40 - max(changed.warmup, 1) : 40]})
        changed.decide({"AAPL": one["AAPL"][40:45]})
        changed.forget_stated()
        expected = in_time(plain, {"AAPL": one["AAPL"][:45]})
        expected += in_time(changed, {"AAPL": one["AAPL"][45:]})
        assert stored(d, "plain") == expected
        assert state_of(d, "plain") == changed.save()


async def exchanged(d: Desk, strategy_id: str) -> None:
    async def done() -> bool:
        view = (await d.client.get(f"/api/v1/strategies/{strategy_id}")).json()
        assert view["swap"]["status"] in ("shadowing", "exchanged"), view["swap"]
        return bool(view["swap"]["status"] == "exchanged")

    await eventually(done, within_s=90, what=f"exchange of {strategy_id}")


def begin(d: Desk, prices: dict[str, np.ndarray], count: int) -> None:
    for symbol, bars in prices.items():
        d.feed.close(symbol, bars[:count])


def targets(runner: Runner, bars: np.ndarray) -> list[tuple[Any, float]]:
    steps = runner.run(bars)
    return [
        (from_ns(int(bar["ts"])), float(decision["target"]))
        for bar, decision in zip(bars[steps.changed], steps.decisions[steps.changed], strict=True)
    ]


async def test_time_goes_on_without_a_symbol_that_stays_silent(desk: Open, tmp_path: Path) -> None:
    definition = defined(tmp_path / "strongest.py", CROSS)
    prices = {symbol: daily_bars(symbol, 30) for symbol in ("AAPL", "PG")}
    mine = {**SMA, "id": "mine", "class_name": "strongest", "universe": ["AAPL", "PG"]}
    folders = [str(BUILT_IN), str(tmp_path)]
    async with desk(mine, panel_wait_s=0.5, trusted_dirs=folders) as d:
        begin(d, prices, 10)
        await d.seen("mine", "*", prices["AAPL"][9])
        d.feed.close("AAPL", prices["AAPL"][10:])
        await d.seen("mine", "*", prices["AAPL"][-1])
        prices["PG"] = prices["PG"][:10]
        runner = runner_of(definition, {}, ["AAPL", "PG"], Timeframe.DAY)
        assert stored(d, "mine") == in_time(runner, prices)


async def test_longer_timeframes_and_python_equal_the_loop_through_a_restart(
    desk: Open, tmp_path: Path
) -> None:
    framed = defined(tmp_path / "daily.py", FRAMED)
    momentum = defined(tmp_path / "momentum.py", PYTHON)
    bars = daily_bars("AAPL", 240)
    bars["ts"] = bars["ts"][0] + np.arange(240) * Timeframe.HOUR.ns
    hourly = {**SMA, "timeframe": "1h"}
    framed_one = {**hourly, "id": "framed", "class_name": "daily"}
    python = {**hourly, "id": "python", "class_name": "momentum", "params": {"window": 5}}
    async with desk(framed_one, python) as d:
        d.feed.timeframe = "1h"
        d.feed.close("AAPL", bars[:1])
        await d.seen("framed", "AAPL", bars[0])
        await d.seen("python", "AAPL", bars[0])
        d.feed.close("AAPL", bars[1:60])
        await d.seen("python", "AAPL", bars[30])
    async with desk(sweep_s=0.3) as d:
        d.feed.timeframe = "1h"
        d.feed.close("AAPL", bars[60:])
        await d.seen("framed", "AAPL", bars[-1])
        await d.seen("python", "AAPL", bars[-1])
        cases: Iterable[tuple[str, Stepper]] = (
            ("framed", runner_of(framed, {}, ["AAPL"], Timeframe.HOUR)),
            ("python", runner_of(momentum, {"window": 5}, ["AAPL"], Timeframe.HOUR)),
        )
        for name, runner in cases:
            wanted = in_time(runner, {"AAPL": bars})
            assert len(wanted) > 5
            assert stored(d, name) == wanted
            assert state_of(d, name) == runner.save()


ENDLESS = """
from libs.common.strategy import PythonStrategy, Strategy

class EndlessPython(PythonStrategy):
    def step(self, bar, out):
        out.target = 1.0
        while bar.ts >= {at}:
            pass

class EndlessCompiled(Strategy):
    @staticmethod
    def step(state, bar, params, out):
        out.target = 1.0
        while bar.ts >= {at}:
            out.target = 1.0 - out.target

class Hungry(PythonStrategy):
    def step(self, bar, out):
        out.target = 1.0
        if bar.ts >= {at}:
            self.state = [bytearray(1 << 24) for _ in range(4096)]

class Leaving(PythonStrategy):
    def step(self, bar, out):
        out.target = 1.0
        if bar.ts >= {at}:
            import os
            os._exit(7)

class Nothing(Strategy):
    @staticmethod
    def step(state, bar, params, out):
        out.target = 1.0
        if bar.ts >= {at}:
            out.stop = -1.0
"""


async def test_strategies_that_misbehave_are_stopped_and_named_while_the_others_go_on(
    desk: Open, tmp_path: Path
) -> None:
    bars = daily_bars("AAPL", 60)
    at = int(bars["ts"][40])
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS.format(at=at))
    names = ("endless_python", "endless_compiled", "hungry", "leaving", "nothing")
    wishes = [{**SMA, "id": name, "class_name": name} for name in names]
    async with desk(SMA, *wishes, step_timeout_s=3.0, step_memory_mb=256) as d:
        d.feed.close("AAPL", bars[:1])
        for name in names:
            await d.seen(name, "AAPL", bars[0])
        for i in range(1, 60):
            await asyncio.to_thread(d.feed.close, "AAPL", bars[i : i + 1])
        await d.seen("sma", "AAPL", bars[-1])
        assert d.targets("sma") == targets(Runner(SmaCross.definition, {}), bars)
        reasons = {name: await d.faulted(name) for name in names}
        day = f"{from_ns(at):%Y-%m-%d}"
        for name, line, word in (
            ("endless_python", "7|8", "did not return within 3 s"),
            ("endless_compiled", "10|11|12|13", "did not return within 3 s"),
            ("hungry", "21", "MemoryError"),
            ("leaving", "", "exit code 7"),
            ("nothing", "", "out of range"),
        ):
            reason = reasons[name]
            assert word in reason, (name, reason)
            assert day in reason, (name, reason)
            lines = line.split("|")
            assert any(f"endless.py:{number}" in reason for number in lines), (name, reason)
            # What it decided before stays, and so does its state.
            await d.seen(name, "AAPL", bars[39])
            (row,) = d.rows(f"SELECT as_of FROM strategy_states WHERE strategy_id = '{name}'")
            assert row[0] == from_ns(int(bars["ts"][39])), name
            assert [target for _, target in d.targets(name)] == [1.0]
