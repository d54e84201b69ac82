"""W3's memory over the number of runs: `python -m benchmarks.flat_memory RUNS` tells its peak.

Each number of runs takes a process of its own, because a process' peak never falls.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.results import Measurement
from benchmarks.workloads import pairs, sweep, walks
from libs.common.quant.simulation.market import Market

FEW, MANY = 50, 400
# What the peak may differ by for other reasons: the allocator, the two threads' moments.
SLACK: Final = 1.1


def measure() -> Measurement:
    """Return the peak of many runs beside that of few."""
    peak_of(FEW)  # where a cache is stale, the first process compiles: that is no run's memory
    few, many = (peak_of(runs) for runs in (FEW, MANY))
    return Measurement(
        f"W3, peak memory of {MANY} runs", many, "MiB", few, f"{FEW} runs",
        target_ratio=SLACK, higher_is_better=False,
    )  # fmt: skip


def peak_of(runs: int) -> float:
    """Return the peak of resident memory in MiB of a process that makes so many runs."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.flat_memory", str(runs)],
        cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    return float(done.stdout)


def own_peak() -> float:
    """Return this process' peak in MiB; `getrusage` would tell the parent's, if that was higher."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found, "no VmHWM in /proc/self/status"
    return int(found[1]) / 1024


if __name__ == "__main__":
    sweep(Market.of(walks(50_000)), pairs(int(sys.argv[1])))
    print(own_peak())
