"""Blows at processes: killed, stopped and continued, all at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import psutil

from tests.chaos.plan import Fault
from tests.chaos.stage import MissedError, Stage


def sent(stage: Stage, name: str, number: signal.Signals) -> int:
    """Send a signal to a part; returns its process id. Raises MissedError."""
    pid = stage.pid(name)
    try:
        os.kill(pid, number)
    except ProcessLookupError as error:
        raise MissedError(f"{name} had just ended") from error
    return pid


@contextmanager
def kill(stage: Stage, fault: Fault) -> Iterator[str]:
    """SIGKILL a part."""
    yield f"killed pid {sent(stage, fault.target, signal.SIGKILL)}"


@contextmanager
def pause(stage: Stage, fault: Fault) -> Iterator[str]:
    """Stop a part and let it go on."""
    pid = sent(stage, fault.target, signal.SIGSTOP)
    try:
        yield f"stopped pid {pid}"
    finally:
        _each([pid], signal.SIGCONT)


@contextmanager
def pg_pause_all(stage: Stage, fault: Fault) -> Iterator[str]:
    """Stop PostgreSQL with all its backends."""
    postmaster = stage.pid("postgres")
    pids = [postmaster, *backends(postmaster)]
    try:
        _each(pids, signal.SIGSTOP)
        yield f"stopped {len(pids)} processes"
    finally:
        _each(pids, signal.SIGCONT)


def backends(postmaster: int) -> list[int]:
    """Return the process ids of PostgreSQL's children."""
    try:
        return [child.pid for child in psutil.Process(postmaster).children()]
    except psutil.NoSuchProcess as error:
        raise MissedError("PostgreSQL had just ended") from error


@contextmanager
def pg_backend_kill(stage: Stage, fault: Fault) -> Iterator[str]:
    """SIGKILL one client's backend: PostgreSQL drops all the others and recovers."""
    for pid in backends(stage.pid("postgres")):
        with suppress(psutil.NoSuchProcess):
            title = " ".join(psutil.Process(pid).cmdline())
            if "trade_executor" in title or "risk_manager" in title:
                os.kill(pid, signal.SIGKILL)
                yield f"killed {title[:60]}"
                return
    raise MissedError("no client's backend was there")


@contextmanager
def pg_immediate(stage: Stage, fault: Fault) -> Iterator[str]:
    """PostgreSQL's immediate shutdown: it ends without a checkpoint."""
    yield f"SIGQUIT to pid {sent(stage, 'postgres', signal.SIGQUIT)}"


@contextmanager
def power_cut(stage: Stage, fault: Fault) -> Iterator[str]:
    """SIGKILL every process, the supervisor first, and start again."""
    system = stage.system
    with stage.started_again():
        assert system.process is not None
        parts = [pid for name in system.state().get("children", {}) if (pid := system.pid(name))]
        victims = [child for pid in parts for child in _family(pid)]
        system.process.kill()
        _each(victims, signal.SIGKILL)
        system.process.wait(10)
        psutil.wait_procs([p for pid in victims if (p := _process(pid))], timeout=20)
        yield f"killed {len(victims) + 1} processes"


@contextmanager
def supervisor_kill(stage: Stage, fault: Fault) -> Iterator[str]:
    """SIGKILL the supervisor alone and start another at once, while its children still end."""
    with stage.started_again():
        process = stage.system.process
        assert process is not None
        process.kill()
        process.wait(10)
        yield f"killed pid {process.pid}"


def _family(pid: int) -> list[int]:
    process = _process(pid)
    return [] if process is None else [pid, *(c.pid for c in process.children(recursive=True))]


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _each(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


BLOWS: dict[str, Callable[[Stage, Fault], AbstractContextManager[str]]] = {
    "kill": kill,
    "pause": pause,
    "pg_pause_all": pg_pause_all,
    "pg_backend_kill": pg_backend_kill,
    "pg_immediate": pg_immediate,
    "power_cut": power_cut,
    "supervisor_kill": supervisor_kill,
}
