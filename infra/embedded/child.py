"""One process of the system: what to run, how to see that it is ready, how to end it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

ReadyCheck = Callable[[], Awaitable[str | None]]
"""Returns None when the child is ready, otherwise the reason why it is not."""

EXIT_REFUSED = 2
"""What a service ends with when it refuses what it was given; to try again would be in vain."""

_PR_SET_PDEATHSIG = 1


class ChildState(StrEnum):
    """Where a child stands."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Child:
    """What to run. `user` and `group` are ids to run as; None keeps ours. `niceness` is added to
    ours: what no order waits for leaves the processor to what one does. `watched`: `ready` is
    asked again for as long as it runs, and one that does not answer for long is killed."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    ready: ReadyCheck
    ready_timeout_s: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 15.0
    user: int | None = None
    group: int | None = None
    niceness: int = 0
    watched: bool = False


@dataclass(slots=True)
class ChildRecord:
    """What became of a child so far."""

    state: ChildState = ChildState.STOPPED
    pid: int | None = None
    restarts: int = 0
    stopping: bool = False
    exit_code: int | None = None
    reason: str = ""
    hung: str = ""
    started_at_ns: int = 0
    log_from: int = 0
    was_ready: bool = False
    refused: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)


def before_exec(child: Child) -> Callable[[], None]:
    """Return what the new process does before it becomes the child: it takes its niceness and,
    on Linux, asks to end when the supervisor is killed. Without the latter a SIGKILL of the
    supervisor would leave orphans that trade unwatched.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    parent = os.getpid()
    niceness, stop_signal = child.niceness, int(child.stop_signal)

    def arrange() -> None:
        os.nice(niceness)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return arrange


async def spawn(child: Child, log: int) -> asyncio.subprocess.Process:
    """Start the process in a session of its own (Ctrl-C reaches only the supervisor)."""
    return await asyncio.create_subprocess_exec(
        *child.command,
        env=dict(child.env),
        cwd=child.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        user=child.user,
        group=child.group,
        extra_groups=None if child.user is None else [],
        preexec_fn=before_exec(child),
    )


async def terminate(process: asyncio.subprocess.Process, child: Child) -> bool:
    """End the process: its stop signal, then after its time SIGKILL; True if it went by itself."""
    if process.returncode is not None:
        return True
    process.send_signal(child.stop_signal)
    try:
        async with asyncio.timeout(child.stop_timeout_s):
            await process.wait()
    except TimeoutError:
        kill_session(process.pid)
        await process.wait()
        return False
    return True


def kill_session(pid: int) -> None:
    """SIGKILL the process and everything it started in its session."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
