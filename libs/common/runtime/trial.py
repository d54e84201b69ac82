"""Strategy files tried in a process of their own, within limits of time and memory.

A file that loops for ever, eats memory or crashes takes that process down and nothing else; what is
wrong is told with file, line and bar.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.trial import Tried

PROGRESS: Final = "progress"
STACK: Final = "stack"
_CACHES: Final = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
_OVERRUN: Final = {
    -signal.SIGPROF: "took too much processor time; an endless loop?",
    -signal.SIGALRM: "took too long without doing much; does it wait for something?",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a trial may take: `load_s` of processor time to import and compile, `step_s` to step
    each strategy, `wall_s` for all; `memory_mb` beyond what the process takes by itself."""

    load_s: float = 60.0
    step_s: float = 20.0
    wall_s: float = 300.0
    memory_mb: int = 1024


DEFAULT_LIMITS: Final = Limits()


def load_limits(load_s: float) -> Limits:
    """Return the limits of a process that loads only."""
    return Limits(load_s=load_s, wall_s=4.0 * load_s + 10.0)


LOAD_LIMITS: Final = load_limits(20.0)


class OverrunError(StrategyFileError):
    """A strategy file whose process did not come to its end by itself."""


class Progress(msgspec.Struct):
    """Where a trial stands; `name` is empty while the file is loaded, `ts` 0 before a bar."""

    name: str = ""
    line: int = 0
    ts: int = 0


class Outcome(msgspec.Struct):
    """What the process says at its end: what it tried, or what is wrong and on which line."""

    tried: tuple[Tried, ...] = ()
    line: int = 0
    reason: str = ""


def try_file(
    path: Path,
    limits: Limits = DEFAULT_LIMITS,
    cache: Path | None = None,
    timeframe: Timeframe | None = None,
) -> tuple[Tried, ...]:
    """Load the file, step its strategies over made-up bars; return what came of it.

    Blocks for some seconds, up to `limits.wall_s`. Array indices of compiled steps are checked;
    `cache` is a folder that keeps code compiled so (no other code may be in it; None: compile all
    anew). Raises StrategyFileError.
    """
    with tempfile.TemporaryDirectory(prefix="tradewind-trial-") as name:
        # Code with checked indices has a cache of its own: Numba would not tell it from the other.
        kept = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache or Path(name) / "cache")}
        steps = (str(limits.step_s), *([timeframe.value] if timeframe else []))
        return _outcome(path.resolve(), limits, Path(name), kept, steps)


def try_load(path: Path, limits: Limits = LOAD_LIMITS) -> None:
    """Load the file and compile its steps; step nothing. The compiled code is kept where this
    process will find it.

    Raises StrategyFileError as `load_file` does, OverrunError where that would not have returned.
    """
    kept = {name: os.environ[name] for name in _CACHES if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="tradewind-trial-") as name:
        _outcome(path.resolve(), limits, Path(name), kept, ())


def _outcome(
    path: Path, limits: Limits, folder: Path, kept: Mapping[str, str], steps: Sequence[str]
) -> tuple[Tried, ...]:
    """Run the process in `folder` and return what it says of the file."""
    command = [sys.executable, "-m", "libs.common.runtime.trial_child", str(path), str(folder)]
    command += [str(limits.load_s), str(limits.memory_mb), *steps]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limits.wall_s,
            env=_environment(kept), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _refusal(path, folder, f"not done after {limits.wall_s:g} s") from None
    if done.returncode in _OVERRUN:
        raise _refusal(path, folder, _OVERRUN[done.returncode])
    if done.returncode != 0:
        raise _refusal(path, folder, _end(done.returncode, done.stderr))
    if not done.stdout:
        raise _refusal(path, folder, "ended its process")
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    if outcome.reason:
        raise StrategyFileError(path, outcome.line, outcome.reason)
    return outcome.tried


def _environment(cache: Mapping[str, str]) -> dict[str, str]:
    """Return what the process sees: where programs and our code are, and no secret."""
    root = str(Path(__file__).resolve().parents[3])
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **cache, **threads, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}


def _end(code: int, stderr: bytes) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"ended by {name}: memory written that is not its own, or too much of it?"
    last = stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"ended with exit code {code}: {last}"


def _refusal(path: Path, folder: Path, what: str) -> OverrunError:
    """Return what to raise for a process that did not come to its end, with where it was."""
    raw = _text(folder / PROGRESS)
    progress = msgspec.json.decode(raw, type=Progress) if raw else Progress()
    line = _line(_text(folder / STACK), path) or progress.line
    if not progress.name:
        return OverrunError(path, line, f"{what} (while it was loaded)")
    bar = f"bar {from_ns(progress.ts):%Y-%m-%d %H:%M:%S UTC}" if progress.ts else "all bars at once"
    return OverrunError(path, line, f"{progress.name}: {bar}: {what}")


def _line(stack: str, path: Path) -> int:
    """Return the innermost line of the file in a stack that faulthandler wrote; 0 if none."""
    found = re.search(rf'File "{re.escape(str(path))}", line (\d+)', stack)
    return int(found[1]) if found else 0


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
