"""Two replicas of the engine: shares, take-over from a dead one, the fence before a parted one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest

from libs.common.kernel.clock import from_ns
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.settings import ServiceSettings
from libs.common.strategy import Runner
from libs.common.strategy.registry import EMPTY
from services.strategy_engine.configuration import Seed, configuration_of
from services.strategy_engine.lease_store import LeaseTable
from services.strategy_engine.leases import LeaseLostError
from services.strategy_engine.ports import SavedState
from services.strategy_engine.store import EngineBook
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross
from tests.support.bar_feed import BarFeed, daily_bars
from tests.support.engine_process import EngineProcess
from tests.support.tokens import AS_OPERATOR

BASE = "/api/v1/strategies"
SEEDS = [
    {"id": "one", "class_name": "sma_cross", "universe": ["AAPL"], "timeframe": "1d"},
    {"id": "two", "class_name": "rsi_reversion", "universe": ["PG"], "timeframe": "1d"},
]
BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
LATER = """
from libs.common.strategy import Strategy

class Later(Strategy):
    @staticmethod
    def step(state, bar, params, out):
        out.target = 1.0
"""
QUICK = {"lease_s": 2.0, "lease_renew_s": 0.3, "sweep_s": 0.5, "gap_timeout_s": 30.0}


def wait(reached: Callable[[], bool], what: str, within_s: float = 60.0) -> float:
    """Return after how many seconds it was so."""
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < within_s, what
        time.sleep(0.05)
    return time.monotonic() - started


class Stage:
    """A database, and the feed of two symbols' bars."""

    def __init__(self, database_url: str, feed: BarFeed) -> None:
        self._feed = feed
        self._connection = psycopg.connect(database_url, autocommit=True)
        self.bars = {"AAPL": daily_bars("AAPL", 200), "PG": daily_bars("PG", 200)}

    def close(self, begin: int, end: int) -> None:
        for i in range(begin, end):
            for symbol, bars in self.bars.items():
                self._feed.close(symbol, bars[i : i + 1])

    def holders(self) -> dict[str, str]:
        rows = self._connection.execute(
            "SELECT strategy_id, l.replica FROM strategy_leases l"
            " JOIN engine_replicas r USING (replica) ORDER BY strategy_id"
        ).fetchall()
        return dict(rows)

    def seen(self, at: int) -> bool:
        rows = self._connection.execute("SELECT as_of FROM strategy_states").fetchall()
        wanted = from_ns(int(self.bars["PG"]["ts"][at]))
        return len(rows) == 2 and all(row[0] >= wanted for row in rows)

    def told(self) -> list[tuple[object, ...]]:
        query = "SELECT strategy_id, bar_ts, target FROM signals ORDER BY strategy_id, bar_ts"
        return self._connection.execute(query).fetchall()

    def published(self) -> tuple[int, int]:
        row = self._connection.execute(
            "SELECT count(*), count(DISTINCT convert_from(message, 'UTF8')::jsonb"
            " -> 'payload' ->> 'signal_id') FROM outbox WHERE stream = 'log:signals'"
        ).fetchone()
        assert row is not None
        return row[0], row[1]


def answers(url: str, strategy_id: str) -> bool:
    """Tell whether whoever runs the strategy says so."""
    answer = httpx.get(f"{url}{BASE}/{strategy_id}", auth=AS_OPERATOR)
    return answer.status_code == 200 and bool(answer.json()["symbols"])


def looped(strategy_id: str, definition: object, bars: np.ndarray) -> list[tuple[object, ...]]:
    steps = Runner(definition, {}).run(bars)  # type: ignore[arg-type]
    return [
        (strategy_id, from_ns(int(bar["ts"])), float(decision["target"]))
        for bar, decision in zip(bars[steps.changed], steps.decisions[steps.changed], strict=True)
    ]


@pytest.fixture
def stage(database_url: str, redis_url: str) -> Iterator[Stage]:
    with BarFeed(database_url, redis_url, "1d") as feed:
        yield Stage(database_url, feed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_dead_and_parted_replicas_lose_their_strategies_and_no_signal_is_lost_or_doubled(
    stage: Stage, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    folders = [str(BUILT_IN), str(tmp_path / "mine")]
    settings = {"strategies": SEEDS, "strategy_dirs": folders, "trusted_dirs": folders, **QUICK}
    first, second = (
        EngineProcess(database_url, redis_url, tmp_path / f"{name}.log", **settings)
        for name in ("first", "second")
    )
    with ExitStack() as stack:
        for engine in (first, second):
            stack.callback(engine.kill)
            engine.start()
        wait(lambda: len(set(stage.holders().values())) == 2, "shares")
        # Those that have never run begin with the first bar that their replica hears.
        wait(lambda: all(answers(first.url, name) for name in ("one", "two")), "both at work")
        stage.close(0, 1)
        wait(lambda: stage.seen(0), "the first states")
        stage.close(1, 40)
        # Either replica lists both and answers for both.
        for engine in (first, second):
            items = httpx.get(f"{engine.url}{BASE}", auth=AS_OPERATOR).json()["items"]
            assert [(item["id"], item["status"]) for item in items] == [
                ("one", "running"),
                ("two", "running"),
            ]
            for name in ("one", "two"):
                detail = httpx.get(f"{engine.url}{BASE}/{name}", auth=AS_OPERATOR).json()
                assert detail["symbols"][0]["state"], detail
        # Both load a new file at the word of either, and go on where they were.
        (tmp_path / "mine" / "later.py").write_text(LATER)
        answer = httpx.post(f"{second.url}{BASE}/reload", auth=AS_OPERATOR, timeout=60)
        assert answer.status_code == 200, answer.text
        for engine in (first, second):
            found = httpx.get(f"{engine.url}{BASE}/classes", auth=AS_OPERATOR).json()
            assert "later" in {item["name"] for item in found["items"]}, engine.url
        first.kill()
        stage.close(40, 80)
        assert wait(lambda: stage.seen(79), "take-over from the dead one") < 30
        first.start()
        wait(lambda: len(set(stage.holders().values())) == 2, "shares again")
        stage.close(80, 100)
        second.pause()
        stage.close(100, 150)
        assert wait(lambda: stage.seen(149), "take-over from the parted one") < 30
        second.go_on()
        stage.close(150, 200)
        wait(lambda: stage.seen(199), "the end")
        wanted = looped("one", SmaCross.definition, stage.bars["AAPL"])
        wanted += looped("two", RsiReversion.definition, stage.bars["PG"])
        assert stage.told() == wanted
        assert stage.published() == (len(wanted), len(wanted))
        wait(lambda: len(set(stage.holders().values())) == 2, "shares in the end")
        assert (first.stop(), second.stop()) == (0, 0)


async def test_former_holders_write_is_refused_and_leaves_nothing(
    database_url: str, redis_url: str
) -> None:
    settings = ServiceSettings.model_validate(
        {"database_url": database_url, "redis_url": redis_url}
    )
    runtime = Runtime.of("strategy_engine", settings)
    tables = {
        name: LeaseTable(runtime.database, replica=name, url=f"http://{name}", lease_s=1.0)
        for name in "ab"
    }
    book = EngineBook(runtime.database, runtime.outbox, replica="a")
    seed = Seed.model_validate(SEEDS[0])
    await book.seed([configuration_of(seed, EMPTY)])
    assert (await tables["a"].renew()).take == ("one",)
    mine = await tables["a"].held()
    assert mine == {"one": 1}
    await book.save([state(1)], [], [], mine)
    await tables["b"].renew()
    await tables["a"].give({"one": "b"})
    assert (await tables["b"].held(), await tables["a"].held()) == ({"one": 2}, {})
    with pytest.raises(LeaseLostError, match="strategy one is run by another replica"):
        await book.save([state(2)], [], [], mine)
    saved = await book.states()
    assert saved["one", "AAPL"].bars == 1
    await book.save([state(3)], [], [], await tables["b"].held())
    # Who starts again where it was is a new holder: what it sent before its end is refused too.
    theirs = await tables["b"].held()
    await tables["b"].begin()
    await tables["b"].renew()
    with pytest.raises(LeaseLostError):
        await book.save([state(4)], [], [], theirs)
    await runtime.close()


def state(bars: int) -> SavedState:
    return SavedState("one", "AAPL", bars * 10**9, b"x", "layout", "version", bars, None)
