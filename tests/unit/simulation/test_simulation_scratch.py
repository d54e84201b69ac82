"""Memory is handed out again only when nobody holds what was in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.models import Models
from libs.common.quant.simulation.outcome import Outcome
from libs.common.quant.simulation.records import BAR, SIGNAL
from libs.common.quant.simulation.scratch import Scratch
from libs.common.quant.simulation.sleeves import Sleeve


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_that_is_held_stays_as_it_is() -> None:
    scratch = Scratch()
    first = scratch.array("curve", (2, 50), np.float64)
    held, place = first[1], address(first)
    del first
    assert address(scratch.array("curve", (2, 50), np.float64)) != place
    del held


def test_memory_that_nobody_holds_is_handed_out_again() -> None:
    scratch = Scratch()
    place = address(scratch.array("curve", (2, 50), np.float64))
    assert address(scratch.array("other", (2, 50), np.float64)) != place
    assert address(scratch.array("curve", (4, 20), np.int64)) == place


def test_a_small_array_does_not_hold_a_large_ones_memory() -> None:
    scratch = Scratch()
    scratch.array("curve", (1_000_000,), np.float64)
    small = scratch.array("curve", (10,), np.float64)
    assert small.base is not None
    assert small.base.nbytes == 80


def outcome(market: Market, target: float) -> Outcome:
    signals = np.zeros(1, SIGNAL)
    signals["target"] = target
    for name in ("stop", "take_profit", "limit"):
        signals[name] = np.nan
    return execute(market, [Sleeve("one", {"X": signals})], Models())


def test_an_outcome_outlives_later_runs_in_all_threads() -> None:
    bars = np.zeros(200, BAR)
    bars["ts"] = np.arange(1, 201)
    for name in ("open", "high", "low", "close"):
        bars[name] = np.linspace(10.0, 20.0, 200)
    market = Market.of({"X": bars})
    targets = [0.1 * k for k in range(1, 11)] * 5
    alone = [outcome(market, target).equity.tobytes() for target in targets]
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda target: outcome(market, target), targets))
    assert [one.equity.tobytes() for one in kept] == alone
    assert len(set(alone)) == 10
