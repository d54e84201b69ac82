"""A peer's script in an environment of its own, held against our result before its speed counts."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.results import Measurement
from benchmarks.workloads import Result

HERE: Final = Path(__file__).resolve().parent / "peers"
HOME: Final = HERE.parents[1] / ".venv-peers"
# nautilus_trader wants a pandas that vectorbt refuses.
ENVIRONMENTS: Final = {"nautilus_trader": HOME / "nautilus"}
LIMIT_SECONDS: Final = 120.0
COLUMNS: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Told:
    """What a peer's script told: its result, or the reason why there is none."""

    result: Result | None
    seconds: float = 0.0
    why: str = ""


def write_bars(path: Path, data: Mapping[str, np.ndarray]) -> None:
    """Write all symbols' bars as one NumPy file for the peers."""
    fields = {name: np.column_stack([bars[name] for bars in data.values()]) for name in COLUMNS}
    np.savez(path, allow_pickle=False, ts=next(iter(data.values()))["ts"], **fields)


def ask(peer: str, work: str, path: Path) -> Told:
    """Run the peer's script on a file of bars."""
    python = ENVIRONMENTS.get(peer, HOME) / "bin" / "python"
    if not python.exists() or not installed(python, peer):
        return Told(None, why="not installed here: `make peers`")
    try:
        done = subprocess.run(
            [str(python), str(HERE / f"run_{peer}.py"), work, str(path)],
            capture_output=True, text=True, timeout=LIMIT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Told(None, why=f"not done after {LIMIT_SECONDS:.0f} s")
    if done.returncode:
        return Told(None, why=f"failed: {done.stderr.strip()[-120:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Told(Result(told["fills"], told["equity"]), told["seconds"])


def installed(python: Path, peer: str) -> bool:
    """Return whether the environment has the peer, without importing it."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({peer!r}) is None)"
    return subprocess.run([str(python), "-c", code], check=False).returncode == 0


def same(ours: Result, theirs: Result) -> bool:
    """Return whether fills and equity, to the cent, agree."""
    return ours.fills == theirs.fills and abs(ours.equity - theirs.equity) < 0.01


def apart(ours: Result, theirs: Result) -> str:
    """Return in words by how much a peer differs."""
    return (
        f"differs: {theirs.fills - ours.fills:+,} fills, equity {theirs.equity - ours.equity:+,.2f}"
        "; no speed is compared"
    )


def beside(
    peer: str,
    work: str,
    data: Mapping[str, np.ndarray],
    ours: Result,
    size: float,
    rate: float,
    unit: str,
    ratio: float = 5.0,
) -> Measurement:
    """Return our rate beside the peer's, or say why there is no comparison."""
    label = f"{work} beside {peer}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        write_bars(path, data)
        told = ask(peer, work, path)
    if told.result is None:
        return Measurement(label, rate, unit, note=told.why)
    if not same(ours, told.result):
        return Measurement(label, rate, unit, note=apart(ours, told.result))
    return Measurement(
        label, rate, unit, size / told.seconds, peer,
        target_ratio=ratio, note="same fills, same equity",
    )  # fmt: skip


def timed(command: list[str], rounds: int) -> tuple[str, float]:
    """Return what a whole command printed and the least wall seconds of some rounds.

    The first warms the caches. Raises CalledProcessError, TimeoutExpired.
    """
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS
        )
        seconds.append(time.perf_counter() - started)
    return done.stdout, min(seconds[1:])
