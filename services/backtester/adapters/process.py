"""A run in a process of its own: watched, bounded, ended."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from libs.common.backtest.request import Request, request_of
from services.backtester.adapters.watch import Watch, kill
from services.backtester.job import BARS, JOB, LOG, PRIVATE, SESSION, STUCK, Job, Line
from services.backtester.metrics import LIMITS
from services.backtester.ports import Artefact, Bars, Ended, Progress, Run, Sessions
from services.backtester.pulse_file import read_pulse
from services.backtester.settings import BacktesterSettings

WARMUP_BARS: Final = 5_000
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "NUMBA_CACHE_DIR", "TMPDIR")
ROOT: Final = Path(__file__).resolve().parents[3]
TAIL_BYTES: Final = 2_000
_FRAME: Final = re.compile(r'File "([^"]+)", line (\d+)')


class ProcessLauncher:
    """Starts `services.backtester.child` for each run and watches it."""

    def __init__(self, settings: BacktesterSettings, bars: Bars, sessions: Sessions) -> None:
        self._settings = settings
        self._bars = bars
        self._sessions = sessions

    async def run(self, run: Run, folder: Path, tell: Callable[[Progress], None]) -> Ended:
        """Run it to its end; see the port."""
        request = request_of(run.request)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        bars, session = await self._exported(request, folder, tell)
        job = Job(
            request=request,
            strategy_dirs=tuple(str(d.absolute()) for d in self._settings.strategy_dirs),
            bars=bars,
            session=session,
            data=str(self._settings.backtests_data or ""),
        )
        ended, limit = await self._attempt(job, folder, self._settings.backtests_timeout_s, tell)
        if limit:
            LIMITS.labels(limit).inc()
        if limit and request.kind == "backtest":
            tell(Progress("locate", 0, 1))
            ended = Ended(None, await self._located(job, folder, ended.error or ""))
        return Ended(ended.result, ended.error, _artefacts(folder))

    async def _exported(
        self, request: Request, folder: Path, tell: Callable[[Progress], None]
    ) -> tuple[str, str]:
        """Write what a job needs of the database, which its process cannot reach: bars, or what was
        recorded; return where."""
        if request.spec is not None and request.spec.source.kind == "store":
            tell(Progress("export", 0, 1))
            most = self._settings.backtests_bars_max
            await self._bars.export(request.spec, WARMUP_BARS, folder / BARS, most)
            return str(folder / BARS), ""
        if request.recorded is not None:
            tell(Progress("export", 0, 1))
            recorded = request.recorded
            session = await self._sessions.read(recorded.start_ns, recorded.end_ns)
            data = await asyncio.to_thread(pickle.dumps, session)
            await asyncio.to_thread((folder / SESSION).write_bytes, data)
            return "", str(folder / SESSION)
        return "", ""

    async def _attempt(
        self, job: Job, folder: Path, timeout_s: float, tell: Callable[[Progress], None]
    ) -> tuple[Ended, str]:
        """Run the job once; return how it ended and which limit it broke, if any."""
        (folder / JOB).write_bytes(msgspec.json.encode(job))
        watch = Watch(folder, timeout_s, self._settings.backtests_memory_mb, locate=job.locate)
        with (folder / LOG).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.backtester.child", str(folder),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
                cwd=ROOT, env=self._environment(), start_new_session=True,
                limit=LINE_BYTES_MAX,
            )  # fmt: skip
        assert process.stdout is not None
        ended = Ended(None, None)
        guard = asyncio.create_task(watch.over(process))
        try:
            async for text in process.stdout:
                line = msgspec.json.decode(text, type=Line)
                if line.stage:
                    tell(Progress(line.stage, line.done, line.total))
                else:
                    ended = Ended(line.result, line.error or None)
            code = await process.wait()
        finally:
            guard.cancel()
            if process.returncode is None:
                kill(process.pid)
                await process.wait()
        return _judged(ended, code, watch, folder)

    async def _located(self, job: Job, folder: Path, error: str) -> str:
        """Step through the job to find the bar at which it breaks its limits."""
        slow = msgspec.structs.replace(job, locate=True)
        most = self._settings.backtests_locate_s
        ended, limit = await self._attempt(slow, folder, most, lambda _: None)
        if not limit:
            return ended.error or f"{error}; stepped through alone, each bar came to its end"
        line = _line_in_strategy(folder, job.strategy_dirs)
        place = read_pulse(folder)
        if not place:
            return error
        return f"{place}{f' (at {line})' if line else ''}: {error}"

    def _environment(self) -> dict[str, str]:
        given = {name: os.environ[name] for name in KEPT if name in os.environ}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return {
            **threads,
            **given,
            "PYTHONUNBUFFERED": "1",
            "TRADEWIND_BACKTEST_MEMORY_MB": str(self._settings.backtests_memory_mb),
            "TRADEWIND_BACKTEST_DISK_MB": str(self._settings.backtests_disk_mb),
            "TRADEWIND_BACKTEST_NICENESS": str(self._settings.backtests_niceness),
        }


def _judged(ended: Ended, code: int, watch: Watch, folder: Path) -> tuple[Ended, str]:
    if ended.result is not None or ended.error is not None:
        return ended, ""
    if watch.broken:
        return Ended(None, watch.broken), watch.limit
    if code < 0:
        return Ended(None, f"the process ended by {signal.Signals(-code).name}"), "crash"
    if code == 0:
        return ended, ""  # a search for the bar says nothing at its end
    return Ended(None, f"the run failed: {_tail(folder / LOG)}"), ""


def _tail(log: Path) -> str:
    lines = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it said nothing; see {LOG}"


def _line_in_strategy(folder: Path, directories: tuple[str, ...]) -> str:
    """Return file and line of the innermost frame of a strategy that was asked for, if any: of
    compiled code Python knows no line."""
    try:
        text = (folder / STUCK).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    for path, line in _FRAME.findall(text):
        if any(Path(path).is_relative_to(directory) for directory in directories):
            return f"{path}:{line}"
    return ""


def _artefacts(folder: Path) -> list[Artefact]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in PRIVATE)
    return [Artefact(path.name, path.stat().st_size) for path in files]
