"""A fusion live: its target is traded, its members' are not, and it goes on after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.common.kernel.clock import from_ns
from libs.common.strategy.fusion import with_fusion
from libs.common.strategy.fusion_runner import FusionRunner
from libs.common.strategy.registry import load_directories
from tests.support.bar_feed import daily_bars
from tests.support.engine_desk import opened
from tests.support.runtimes import eventually

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
PARAMS: dict[str, object] = {
    "sma_cross.weight": 2.0,
    "rsi_reversion.weight": 1.0,
    "rsi_reversion.window": 3,
    "half_life": 10,
    "trips_min": 2,
    "conflict": "net",
}
BOTH: dict[str, object] = {
    "id": "both",
    "class_name": "fusion",
    "universe": ["AAPL"],
    "timeframe": "1d",
    "params": PARAMS,
}


def runner(**changes: object) -> FusionRunner:
    definition = with_fusion(load_directories([BUILT_IN])).get("fusion").definition
    return FusionRunner(definition, {**PARAMS, **changes})


def decided(one: FusionRunner, bars: np.ndarray) -> list[tuple[Any, float]]:
    signals = one.decide({"": bars})[""]
    return [(from_ns(int(bars["ts"][row["index"]])), float(row["target"])) for row in signals]


async def test_fused_signals_are_kept_with_their_contributions_through_a_restart_and_a_swap(
    database_url: str, redis_url: str
) -> None:
    bars = daily_bars("AAPL", 160)
    async with opened(database_url, redis_url, BOTH) as desk:
        for bar in bars[:80]:
            desk.feed.close("AAPL", np.array([bar]))
        await desk.seen("both", "AAPL", bars[79])
    async with opened(database_url, redis_url, BOTH) as desk:
        for bar in bars[80:120]:
            desk.feed.close("AAPL", np.array([bar]))
        await desk.seen("both", "AAPL", bars[119])
        # Another weight and rule from here on, its memory filled from the stored bars before.
        wish = {"params": {"conflict": "strongest", "sma_cross.weight": 1.0}, "shadow_bars": 5}
        answer = await desk.client.post("/api/v1/strategies/both/swap", json=wish)
        assert answer.status_code == 202, answer.text
        for bar in bars[120:125]:
            desk.feed.close("AAPL", np.array([bar]))

        async def exchanged() -> bool:
            view = (await desk.client.get("/api/v1/strategies/both")).json()
            return bool(view["swap"]["status"] == "exchanged")

        await eventually(exchanged, within_s=60, what="exchange")
        for bar in bars[125:]:
            desk.feed.close("AAPL", np.array([bar]))
        await desk.seen("both", "AAPL", bars[-1])
        signals = desk.targets("both")
        new = runner(conflict="strongest", **{"sma_cross.weight": 1.0})
        new.warm({"": bars[120 - new.warmup : 120]})
        new.decide({"": bars[120:125]})
        new.forget_stated()
        assert signals == decided(runner(), bars[:125]) + decided(new, bars[125:])
        assert len(signals) > 10
        assert desk.rows("SELECT DISTINCT strategy_id, mode FROM signals") == [("both", "live")]

        features, target = desk.rows(
            "SELECT features, target FROM signals ORDER BY bar_ts DESC LIMIT 1"
        )[0]
        strength = {
            name: features[f"{name}.weight"]
            * features[f"{name}.confidence"]
            * features[f"{name}.decay"]
            * features[f"{name}.quality"]
            for name in ("sma_cross", "rsi_reversion")
        }
        strongest = max(strength, key=lambda name: strength[name] * abs(features[f"{name}.target"]))
        assert features[f"{strongest}.target"] == pytest.approx(target)

        shown = (await desk.client.get("/api/v1/strategies/both")).json()["symbols"][0]
        assert shown["state"]["sma_cross"]["weight"] == 1.0
        wrong = {**BOTH, "id": "other", "params": {"pairs.weight": 1, "sma_cros.weight": 1}}
        refused = await desk.client.post("/api/v1/strategies", json=wrong)
        assert refused.status_code == 422
        assert "pairs: a member is a compiled strategy" in refused.text
        assert "did you mean sma_cross" in refused.text
