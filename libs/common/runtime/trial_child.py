"""The process of one trial:
`python -m libs.common.runtime.trial_child FILE FOLDER LOAD_S MEMORY_MB [STEP_S [TIMEFRAME]]`.

Says its outcome as JSON on the first output; what the file prints goes to the second.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import TradewindError
from libs.common.runtime.trial import PROGRESS, STACK, Outcome, Progress
from libs.common.strategy.errors import StepError, StrategyFileError
from libs.common.strategy.loader import Loaded, load_file
from libs.common.strategy.trial import Tried, try_out

_MEGABYTE: Final = 1 << 20
# What only sleeps takes no processor time: it gets so many times the limit by the clock.
_IDLE_LOAD: Final = 3.0
_IDLE_STEP: Final = 5.0


def main() -> int:
    """Try the file that is named."""
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    load_s, memory_mb = float(sys.argv[3]), int(sys.argv[4])
    step_s = float(sys.argv[5]) if len(sys.argv) > 5 else None
    timeframe = Timeframe(sys.argv[6]) if len(sys.argv) > 6 else None
    said = os.dup(1)
    os.dup2(2, 1)
    _bound_memory(memory_mb)
    with (folder / STACK).open("w") as stack, (folder / PROGRESS).open("wb") as progress:
        faulthandler.enable(stack, all_threads=False)
        for number in (signal.SIGPROF, signal.SIGALRM):
            faulthandler.register(number, file=stack, all_threads=False, chain=True)
        outcome = _outcome(path, load_s, step_s, progress.fileno(), timeframe)
    os.write(said, msgspec.json.encode(outcome))
    # Whatever threads or exit hooks the file left behind, it is over.
    os._exit(0)


def _outcome(
    path: Path, load_s: float, step_s: float | None, progress: int, timeframe: Timeframe | None
) -> Outcome:
    try:
        _allow(load_s, _IDLE_LOAD)
        found = load_file(path)
        if step_s is None:
            return Outcome()
        return Outcome(tuple(_tried(loaded, step_s, progress, timeframe) for loaded in found))
    except (StepError, StrategyFileError) as error:
        return Outcome(line=error.line, reason=error.reason)
    except (TradewindError, MemoryError) as error:
        return Outcome(reason=f"{type(error).__name__}: {error}")


def _tried(loaded: Loaded, step_s: float, progress: int, timeframe: Timeframe | None) -> Tried:
    place = Progress(loaded.definition.name, loaded.definition.place[1])

    def tell(ts: int) -> None:
        place.ts = ts
        text = msgspec.json.encode(place)
        os.pwrite(progress, text, 0)
        os.ftruncate(progress, len(text))

    tell(0)
    _allow(step_s, _IDLE_STEP)
    return try_out(loaded, tell, timeframe)


def _allow(seconds: float, idle: float) -> None:
    """Allow so much processor time from here on; the signal ends the process after it."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * idle)


def _bound_memory(megabytes: int) -> None:
    """Allow so much memory beyond what is in use."""
    most = _data_kb() * 1024 + megabytes * _MEGABYTE
    held = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if held != resource.RLIM_INFINITY:  # who started us is bounded, too
        most = min(most, held)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _data_kb() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
