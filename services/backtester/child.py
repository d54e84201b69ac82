"""The process of one run: `python -m services.backtester.child FOLDER`.

It knows no database, no secret and no network; strategies are somebody's code. What it says goes
to its first output as lines of JSON; what strategies print goes to the log.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from libs.common.backtest.cpcv import cpcv as validate
from libs.common.backtest.data import Reader
from libs.common.backtest.files import FileReader
from libs.common.backtest.kept import write_report
from libs.common.backtest.models import models_from
from libs.common.backtest.parity.report import parity_of, write_parity
from libs.common.backtest.parity.session import Session
from libs.common.backtest.request import Request
from libs.common.backtest.run import Tell, choices_of, read_history, reader_of, run_backtest
from libs.common.backtest.shelf import load_known, load_named
from libs.common.backtest.sweep.sweep import sweep as run_sweep
from libs.common.backtest.sweep.sweep import write_heat_map
from libs.common.backtest.sweep.workshop import Workshop
from libs.common.backtest.walk import walk
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
    spec = job.request.traded
    if spec.source.kind == "file":
        return FileReader(Path(job.data) / spec.source.path)
    return reader_of(spec, FileReader(Path(job.bars)) if job.bars else None)


def backtest(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Run one backtest and keep it in the folder; return its summary."""
    spec = job.request.traded
    tell("load", 0, 1)
    names = [choice.class_name for choice in spec.strategies]
    registry = load_named(names, folders(job), VET)
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


def workshop_for(job: Job, tell: Tell) -> Workshop:
    """Return what the trials of a job share."""
    spec = job.request.traded
    tell("load", 0, 1)
    names = [choice.class_name for choice in spec.strategies]
    registry = load_named(names, folders(job), VET)
    tell("read", 0, 1)
    return Workshop(spec, read_history(spec, (), reader_for(job)), registry)


def folders(job: Job) -> list[Path]:
    """Return the folders of strategy files."""
    return [Path(each) for each in job.strategy_dirs]


def sweep(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Run one sweep, going on where the folder's journal ends; return its summary."""
    plan = job.request.plan
    assert plan is not None
    workshop = workshop_for(job, tell)
    summary = run_sweep(
        workshop,
        plan,
        folder,
        directories=folders(job),
        workers=1,
        tell=lambda done, count, _best: tell("trials", done, count),
    )
    if job.request.report:
        write_heat_map(workshop, plan, folder, summary)
    return summary


def walk_forward(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Walk forward, making no sweep again that the folder holds; return windows and metrics."""
    plan, steps = job.request.plan, job.request.steps
    assert plan is not None
    assert steps is not None
    workshop = workshop_for(job, tell)
    return walk(
        workshop, plan, steps, folder, directories=folders(job), workers=1,
        tell=lambda done, count: tell("windows", done, count),
    ).to_json()  # fmt: skip


def cpcv(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Cross-validate, going on where the folder's journal ends; return splits and paths."""
    plan, folds = job.request.plan, job.request.folds
    assert plan is not None
    assert folds is not None
    workshop = workshop_for(job, tell)
    return validate(
        workshop, plan, folds, folder, directories=folders(job), workers=1,
        tell=lambda done, count: tell("trials", done, count),
    ).to_json()  # fmt: skip


def parity(job: Job, folder: Path, tell: Tell) -> dict[str, object]:
    """Replay what was recorded and compare; return where the two part."""
    recorded = job.request.recorded
    assert recorded is not None
    tell("load", 0, 1)
    written = Path(job.session).read_bytes()
    session: Session = pickle.loads(written)  # nosec B301 # our parent wrote it
    names = [each.class_name for each in session.strategies]
    registry = load_known(names, folders(job), VET)
    tell("compare", 0, 1)
    found = parity_of(session, registry, models_from({**recorded.models, "cash": session.equity}))
    write_parity(found, folder, page=job.request.report)
    return found.to_json()


KINDS: Final[dict[str, Callable[[Job, Path, Tell], dict[str, object]]]] = {
    "backtest": backtest,
    "sweep": sweep,
    "walk_forward": walk_forward,
    "cpcv": cpcv,
    "parity": parity,
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
