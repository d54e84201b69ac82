"""The process of one run: `python -m services.backtester.child FOLDER`.

It knows no database, no secret and no network; strategies are somebody's code. What it says goes
to its first output as lines of JSON; what strategies print goes to the log.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from libs.common.backtest.data import Reader
from libs.common.backtest.files import FileReader
from libs.common.backtest.kept import write_report
from libs.common.backtest.request import Request
from libs.common.backtest.run import Tell, choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.shelf import load_named
from libs.common.backtest.sweep.sweep import sweep as run_sweep
from libs.common.backtest.sweep.sweep import write_heat_map
from libs.common.backtest.sweep.workshop import Workshop
from libs.common.kernel.errors import TradewindError
from libs.common.runtime.vetting import Vetting
from services.backtester.job import JOB, STUCK, Job, Line
from services.backtester.pulse import locate

TELL_S: Final = 0.1
MEMORY: Final = "TRADEWIND_BACKTEST_MEMORY_MB"
DISK: Final = "TRADEWIND_BACKTEST_DISK_MB"
VET: Final = Vetting([Path(__file__).resolve().parents[2] / "strategies"])
NICENESS: Final = "TRADEWIND_BACKTEST_NICENESS"


class Voice:
    """Says lines on the first output, which nobody else can write to from here on."""

    def __init__(self) -> None:
        self._file: BinaryIO = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._said = ("", 0.0)

    def say(self, line: Line) -> None:
        """Say one line."""
        self._file.write(msgspec.json.encode(line) + b"\n")

    def tell(self, stage: str, done: int, total: int) -> None:
        """Say how far it is, not too often."""
        now = time.monotonic()
        if stage != self._said[0] or now - self._said[1] >= TELL_S:
            self._said = (stage, now)
            self.say(Line(stage=stage, done=done, total=total))


def limit() -> None:
    """Bound memory and the size of files, and step aside for whoever trades."""
    megabyte = 1 << 20
    for kind, name in ((resource.RLIMIT_DATA, MEMORY), (resource.RLIMIT_FSIZE, DISK)):
        most = int(os.environ[name]) * megabyte
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(int(os.environ[NICENESS]))


def listen_for_questions(folder: Path) -> None:
    """Write where Python stands into a file whenever SIGUSR1 comes, machine code or not."""
    stuck = (folder / STUCK).open("w")
    faulthandler.register(signal.SIGUSR1, file=stuck, all_threads=False)


def reader_for(job: Job) -> Reader:
    """Return where the bars of a job come from."""
    source = job.request.spec.source
    if source.kind == "file":
        return FileReader(Path(job.data) / source.path)
    return reader_of(job.request.spec, FileReader(Path(job.bars)) if job.bars else None)


def backtest(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Run one backtest and keep it in the folder; return its summary."""
    spec = job.request.spec
    tell("load", 0, 1)
    names = [choice.class_name for choice in spec.strategies]
    registry = load_named(names, [Path(each) for each in job.strategy_dirs], VET)
    chosen = choices_of(spec, registry)
    tell("read", 0, 1)
    history = read_history(spec, chosen, reader_for(job))
    if job.locate:
        locate(chosen, history, folder)
        return {}
    result = run_backtest(spec, history, chosen, tell)
    tell("write", 0, 1)
    result.save(folder)
    if job.request.report:
        write_report(result, folder)
    return result.summary()


def sweep(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Run one sweep, going on where the folder's journal ends; return its summary."""
    spec, plan = job.request.spec, job.request.plan
    assert plan is not None
    tell("load", 0, 1)
    directories = [Path(each) for each in job.strategy_dirs]
    registry = load_named([choice.class_name for choice in spec.strategies], directories, VET)
    tell("read", 0, 1)
    workshop = Workshop(spec, read_history(spec, (), reader_for(job)), registry)
    summary = run_sweep(
        workshop,
        plan,
        folder,
        directories=directories,
        workers=1,
        tell=lambda done, count, _best: tell("trials", done, count),
    )
    if job.request.report:
        write_heat_map(workshop, plan, folder)
    return summary


KINDS: Final[dict[str, Callable[[Job, Path, Tell], dict[str, object]]]] = {
    "backtest": backtest,
    "sweep": sweep,
}


def work(job: Job, folder: Path, voice: Voice) -> int:
    """Do the job and say what came of it; return the exit code."""
    request: Request = job.request
    try:
        result = KINDS[request.kind](job, folder, voice.tell)
    except TradewindError as error:
        voice.say(Line(error=str(error)))
        return 1
    except MemoryError:
        voice.say(Line(error=f"out of memory: a run may hold {os.environ[MEMORY]} MB"))
        return 1
    voice.say(Line(result=result))
    return 0


def main() -> int:
    """Read the job of the folder that is named, and do it."""
    folder = Path(sys.argv[1])
    voice = Voice()
    limit()
    listen_for_questions(folder)
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    return work(job, folder, voice)


if __name__ == "__main__":
    sys.exit(main())
