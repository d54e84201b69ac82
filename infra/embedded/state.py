"""What a running supervisor tells others about itself, and the lock that makes it the only one."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.embedded.errors import AlreadyRunningError
from infra.embedded.home import Home, read_json, write_private

CREATED_TOLERANCE_S = 1.0
LEFTOVER_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class RunState:
    """The supervisor's pid, what it runs, and where each part listens."""

    pid: int
    created: float
    phase: str
    books: str
    broker: str
    gateway: str
    ports: Mapping[str, int]
    symbols: Sequence[str] = ()
    certificates: str = ""
    children: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def write(self, home: Home) -> None:
        """Store it in the home's run directory."""
        write_private(home.state_file, json.dumps(asdict(self), indent=1) + "\n")


def read(home: Home) -> RunState | None:
    """Return what the supervisor of this home last said; None where none ever ran or it is gone."""
    values = read_json(home.state_file)
    try:
        state = RunState(**values)  # type: ignore[arg-type]
    except TypeError:
        return None
    return state if is_process(state.pid, state.created) else None


def created(pid: int) -> float:
    """Return when process `pid` began; 0.0 if it is gone, or has ended and awaits its parent."""
    # Imported where it is needed: every command imports this module, few look at processes.
    import psutil  # type: ignore[import-untyped]

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return 0.0
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0


def is_process(pid: int, began: float) -> bool:
    """Tell whether `pid` is still the process that began at `began`, not a later one."""
    return began > 0 and abs(created(pid) - began) <= CREATED_TOLERANCE_S


@contextmanager
def only_one(lock_file: Path) -> Iterator[None]:
    """Hold the home's lock; raises AlreadyRunningError while another process does."""
    handle = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunningError(f"Tradewind is already running ({lock_file.parent})") from (
                error
            )
        yield
    finally:
        os.close(handle)


def end_leftovers(home: Home) -> list[str]:
    """End children of an earlier supervisor that was killed; return their names.

    Only processes whose pid and start time it wrote down itself are touched.
    """
    import psutil

    ours = []
    for name, facts in _children(read_json(home.state_file)):
        pid, began = facts.get("pid"), facts.get("created")
        if isinstance(pid, int) and isinstance(began, int | float) and is_process(pid, began):
            ours.append((name, psutil.Process(pid)))
    for _, process in ours:
        process.terminate()
    _, alive = psutil.wait_procs([process for _, process in ours], timeout=LEFTOVER_TIMEOUT_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=LEFTOVER_TIMEOUT_S)
    return [name for name, _ in ours]


def _children(state: Mapping[str, object]) -> list[tuple[str, Mapping[str, object]]]:
    children = state.get("children")
    if not isinstance(children, dict):
        return []
    return [(name, facts) for name, facts in children.items() if isinstance(facts, dict)]
