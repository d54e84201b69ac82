"""Kill anything at any moment of a session: nothing is lost, nothing is doubled.

TRADEWIND_TEST_SEED replays a run's choices, TRADEWIND_CRASH_KILLS sets their number.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.e2e.test_first_light import settle
from tests.support.system import System, running_system
from tests.support.tie_out import differences, truth

pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.timeout(900)]

VICTIMS = ("strategy_engine", "risk_manager", "trade_executor", "redis", "postgres")
KILLS = int(os.environ.get("TRADEWIND_CRASH_KILLS", "12"))
PAUSE_S = (0.5, 5.0)


def test_sigkill_at_random_moments_loses_and_doubles_nothing(
    server_directory: Path, seed: int
) -> None:
    chance = random.Random(seed)
    plan = [*VICTIMS, *(chance.choice(VICTIMS) for _ in range(KILLS - len(VICTIMS)))]
    chance.shuffle(plan)
    with running_system(server_directory / "crash") as system:
        system.until(lambda: len(truth(system)["executions"]) >= 10, 120, "trading to begin")
        killed = [name for name in plan if struck(system, name, chance)]
        assert set(killed) == set(VICTIMS), f"seed {seed}: only {killed} could be killed"
        before = len(truth(system)["executions"])
        system.until(
            lambda: len(truth(system)["executions"]) > before + 10, 180, "trading to go on"
        )
        settle(system)
        assert differences(system) == [], f"seed {seed}, killed {killed}"
        assert doubled_signals(system) == [], f"seed {seed}"
        system.until(lambda: system.get("/api/v1/audit/verify")["valid"], 30, "the audit chain")


def struck(system: System, name: str, chance: random.Random) -> bool:
    """Wait a random while, SIGKILL `name`; with luck two at once. Tell whether it was running."""
    time.sleep(chance.uniform(*PAUSE_S))
    if chance.random() < 0.2:
        system.kill(chance.choice(VICTIMS))
    deadline = time.monotonic() + 60
    while not system.kill(name):
        # It is just being restarted after an earlier blow; give it time to come back.
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def doubled_signals(system: System) -> list[str]:
    """Return signals that became more than one order, or were judged more than once."""
    orders = [order["signal_id"] for order in system.all("/api/v1/orders") if order["signal_id"]]
    return [signal for signal in set(orders) if orders.count(signal) > 1]
