"""Fresh seeds each time, and every seed that ever failed."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from tests.simulation.session import Outcome, play

FRESH = 60
PAST = [
    tuple(map(int, line.split()[:2]))
    for line in (Path(__file__).parent / "seeds.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def report(outcome: Outcome, steps: int) -> str:
    lines = "\n".join(outcome.lines[-60:])
    return f"{outcome.violation}\n{lines}\nreplay: make sim SEED={outcome.seed} STEPS={steps}"


@pytest.mark.parametrize(("seed", "steps"), PAST)
def test_past_seed_holds(seed: int, steps: int) -> None:
    outcome = play(seed, steps)
    assert outcome.violation is None, report(outcome, steps)


def test_fresh_seeds_hold() -> None:
    base = int.from_bytes(os.urandom(4), "big")
    print(f"fresh seeds from {base}")
    for seed in range(base, base + FRESH):
        outcome = play(seed, 40)
        assert outcome.violation is None, report(outcome, 40)
    gc.collect()
