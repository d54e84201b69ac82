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


def uninterrupted(bars: np.ndarray) -> list[tuple[Any, float]]:
    definition = with_fusion(load_directories([BUILT_IN])).get("fusion").definition
    signals = FusionRunner(definition, PARAMS).decide({"": bars})[""]
    return [(from_ns(int(bars["ts"][row["index"]])), float(row["target"])) for row in signals]


async def test_fused_signals_are_kept_with_their_contributions_through_a_restart(
    database_url: str, redis_url: str
) -> None:
    bars = daily_bars("AAPL", 160)
    async with opened(database_url, redis_url, BOTH) as desk:
        for bar in bars[:80]:
            desk.feed.close("AAPL", np.array([bar]))
        await desk.seen("both", "AAPL", bars[79])
    async with opened(database_url, redis_url, BOTH) as desk:
        for bar in bars[80:]:
            desk.feed.close("AAPL", np.array([bar]))
        await desk.seen("both", "AAPL", bars[-1])
        signals = desk.targets("both")
        assert signals == uninterrupted(bars)
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
        net = sum(s * features[f"{name}.target"] for name, s in strength.items())
        assert net / sum(strength.values()) == pytest.approx(target)

        shown = (await desk.client.get("/api/v1/strategies/both")).json()["symbols"][0]
        assert shown["state"]["sma_cross"]["weight"] == 2.0
        wrong = {**BOTH, "id": "other", "params": {"pairs.weight": 1, "sma_cros.weight": 1}}
        refused = await desk.client.post("/api/v1/strategies", json=wrong)
        assert refused.status_code == 422
        assert "pairs: a member is a compiled strategy" in refused.text
        assert "did you mean sma_cross" in refused.text
