"""The same seed is the same session, word for word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.session import play

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SEEDS = range(7000, 7006)
_TELL = (
    "from tests.simulation.session import play\n"
    f"for seed in {SEEDS!r}: print(seed, play(seed).digest)"
)


def test_a_seed_replays_exactly() -> None:
    first = [play(seed).digest for seed in SEEDS]
    assert [play(seed).digest for seed in SEEDS] == first
    assert len(set(first)) == len(first)


def test_a_seed_replays_in_other_processes_with_other_hashes() -> None:
    told = set()
    for salt in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        done = subprocess.run(
            [sys.executable, "-c", _TELL],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True,
        )  # fmt: skip
        told.add(done.stdout)
    assert len(told) == 1, told
    assert told == {"".join(f"{seed} {play(seed).digest}\n" for seed in SEEDS)}
