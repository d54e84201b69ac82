"""Watches a process and those it started, and ends them when they break a limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final

from services.backtester.pulse_file import PULSE_STILL_S, read_pulse

WATCH_S: Final = 0.1
ANSWER_S: Final = 0.3
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MEGABYTE: Final = 1 << 20


class Watch:
    """Ends a process that takes too long or holds too much; `broken` then says what it broke.

    A search for a bar (`locate`) is ended too when it has stayed on one bar for too long.
    """

    def __init__(self, folder: Path, timeout_s: float, memory_mb: int, *, locate: bool) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._memory_mb = memory_mb
        self._locate = locate
        self.limit = ""
        self.broken = ""

    async def over(self, process: Process) -> None:
        """Watch until the process ends."""
        loop = asyncio.get_running_loop()
        began = moved = loop.time()
        pulse = ""
        while process.returncode is None:
            await asyncio.sleep(WATCH_S)
            now = loop.time()
            if self._locate and (seen := read_pulse(self._folder)) != pulse:
                pulse, moved = seen, now
            if now - began > self._timeout_s or (pulse and now - moved > PULSE_STILL_S):
                self.limit = "time"
                self.broken = f"the time limit of {self._timeout_s:g} s was reached"
            elif memory_mb(process.pid) > self._memory_mb:
                self.limit = "memory"
                self.broken = f"the memory limit of {self._memory_mb} MB was reached"
            if self.limit:
                await _ask_and_kill(process)
                return


async def _ask_and_kill(process: Process) -> None:
    """Let the process write where it stands, then end it."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(ANSWER_S)
    kill(process.pid)


def kill(pid: int) -> None:
    """End a process and all that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def memory_mb(pid: int) -> float:
    """Return what a process and its children hold in memory; 0 for one that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0.0
    return pages * _PAGE / _MEGABYTE + sum(memory_mb(int(child)) for child in children)
