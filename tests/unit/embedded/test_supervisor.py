"""The supervisor starts in order, restarts with back-off, and stops in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from infra.embedded.child import Child, ChildState
from infra.embedded.errors import StartError
from infra.embedded.logs import LogFiles
from infra.embedded.supervisor import RestartPolicy, Supervisor
from libs.common.runtime.clocks import SystemClock

FAST = RestartPolicy(delay_s_first=0.01, delay_s_max=0.05, poll_s=0.01)
STAYS = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); "


class Reports:
    """Keeps what the supervisor says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, level: str, text: str) -> None:
        self.lines.append(f"{level}: {text}")

    def about(self, word: str) -> list[str]:
        return [line for line in self.lines if word in line]


def python_child(name: str, code: str, directory: Path, **changes: object) -> Child:
    """Return a child that is ready once the file `<name>.ready` exists."""
    flag = directory / f"{name}.ready"

    async def ready() -> str | None:
        return None if flag.exists() else f"{flag.name} is not there"

    fields: dict[str, object] = {
        "name": name,
        "command": (sys.executable, "-c", code),
        "env": {"PATH": os.environ["PATH"]},
        "cwd": directory,
        "ready": ready,
        "ready_timeout_s": 10.0,
        "stop_timeout_s": 5.0,
    }
    return Child(**{**fields, **changes})  # type: ignore[arg-type]


def touching(name: str) -> str:
    return f"open('{name}.ready', 'w').close(); "


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def supervisor(tmp_path: Path, reports: Reports) -> AsyncIterator[Supervisor]:
    logs = LogFiles(tmp_path, bytes_max=1000, keep=2)
    supervisor = Supervisor(logs, reports, SystemClock(), FAST)
    yield supervisor
    await supervisor.stop_all([])


async def until(condition: object, timeout_s: float = 10.0) -> None:
    assert callable(condition)
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)


async def test_start_returns_when_the_child_is_ready(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    code = STAYS + "time.sleep(0.2); " + touching("a") + "time.sleep(60)"
    await supervisor.start(python_child("a", code, tmp_path))
    assert supervisor.records["a"].state is ChildState.RUNNING
    assert (tmp_path / "a.ready").exists()


async def test_killed_child_is_restarted_and_reported(
    supervisor: Supervisor, tmp_path: Path, reports: Reports
) -> None:
    child = python_child("a", STAYS + touching("a") + "time.sleep(60)", tmp_path)
    await supervisor.start(child)
    first = supervisor.records["a"].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.records["a"].pid not in (None, first))
    await until(lambda: supervisor.records["a"].state is ChildState.RUNNING)
    assert supervisor.records["a"].restarts == 1
    assert "SIGKILL" in reports.about("restart 1")[0]


async def test_child_that_ends_at_once_fails_the_start_with_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    child = python_child("a", "print('no such thing as a configuration'); exit(3)", tmp_path)
    with pytest.raises(StartError, match=r"a does not start.*exit code 3.*3 times") as caught:
        await supervisor.start(child)
    assert "no such thing as a configuration" in caught.value.remedy


async def test_child_that_refuses_is_not_tried_again_and_says_why_once(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / "a.log").write_text("what an earlier run said\n")
    child = python_child("a", "print('/x.csv: column symbol is missing'); exit(2)", tmp_path)
    with pytest.raises(StartError) as caught:
        await supervisor.start(child)
    assert str(caught.value) == "a refuses to start: /x.csv: column symbol is missing"
    assert supervisor.records["a"].restarts == 0


async def test_child_that_never_gets_ready_fails_the_start_with_the_reason(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    child = python_child("a", STAYS + "time.sleep(60)", tmp_path, ready_timeout_s=0.5)
    with pytest.raises(StartError, match=r"not ready after 0.5 s: a\.ready is not there"):
        await supervisor.start(child)


async def test_command_that_does_not_exist_fails_the_start(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    child = python_child("a", "", tmp_path, command=("/does/not/exist",))
    with pytest.raises(StartError, match="cannot be run"):
        await supervisor.start(child)


async def test_stop_all_follows_the_order_given(
    supervisor: Supervisor, tmp_path: Path, reports: Reports
) -> None:
    for name in ("a", "b", "c"):
        code = STAYS + touching(name) + "time.sleep(60)"
        await supervisor.start(python_child(name, code, tmp_path))
    await supervisor.stop_all(["b", "a"])
    stopped = [line.split()[1] for line in reports.about("stopped")]
    assert stopped == ["b", "a", "c"]
    assert all("exit code 0" in line for line in reports.about("stopped"))


async def test_stop_kills_what_ignores_its_signal(
    supervisor: Supervisor, tmp_path: Path, reports: Reports
) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        + touching("a")
        + "time.sleep(60)"
    )
    await supervisor.start(python_child("a", code, tmp_path, stop_timeout_s=0.2))
    await supervisor.stop("a")
    assert reports.about("was killed")
    assert supervisor.records["a"].exit_code == -signal.SIGKILL


async def test_stopped_child_stays_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    child = python_child("a", STAYS + touching("a") + "time.sleep(60)", tmp_path)
    await supervisor.start(child)
    await supervisor.stop("a")
    await asyncio.sleep(0.1)
    assert supervisor.records["a"].state is ChildState.STOPPED
    assert supervisor.records["a"].restarts == 0


async def test_stop_while_waiting_for_a_restart_ends_the_wait(
    tmp_path: Path, reports: Reports
) -> None:
    slow = RestartPolicy(delay_s_first=30.0, poll_s=0.01)
    logs = LogFiles(tmp_path, bytes_max=1000, keep=2)
    supervisor = Supervisor(logs, reports, SystemClock(), slow)
    child = python_child("a", STAYS + touching("a") + "time.sleep(60)", tmp_path)
    await supervisor.start(child)
    pid = supervisor.records["a"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: supervisor.records["a"].state is ChildState.WAITING)
    async with asyncio.timeout(2):
        await supervisor.stop("a")


async def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's death")
    program = f"""
import asyncio, sys, pathlib, time, datetime
sys.path.insert(0, {str(Path.cwd())!r})
from infra.embedded.child import Child, spawn
import os
async def main():
    async def ready(): return None
    child = Child("a", (sys.executable, "-c", "import time; time.sleep(60)"),
                  dict(os.environ), pathlib.Path("."), ready)
    process = await spawn(child, 2)
    print(process.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await until(lambda: not _alive(pid))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.25), (2, 0.5), (3, 1.0), (8, 30.0), (50, 30.0), (5000, 30.0)]
)
def test_back_off_doubles_up_to_its_limit(failures: int, delay_s: float) -> None:
    assert RestartPolicy().delay_s(failures) == delay_s


@pytest.mark.parametrize("niceness", [0, 3])
async def test_a_child_has_its_niceness(
    supervisor: Supervisor, tmp_path: Path, niceness: int
) -> None:
    code = STAYS + touching("a") + "time.sleep(60)"
    await supervisor.start(python_child("a", code, tmp_path, niceness=niceness))
    assert psutil.Process(supervisor.records["a"].pid).nice() == os.nice(0) + niceness


async def test_child_that_stands_still_is_killed_and_started_again(
    tmp_path: Path, reports: Reports
) -> None:
    """SIGSTOP: it runs, and will never answer nor end by itself."""
    policy = RestartPolicy(
        delay_s_first=0.01, delay_s_max=0.05, poll_s=0.01, hung_probe_s=0.05, hung_misses=4
    )
    supervisor = Supervisor(
        LogFiles(tmp_path, bytes_max=1000, keep=2), reports, SystemClock(), policy
    )

    async def answers() -> str | None:
        pid = supervisor.records["a"].pid
        if pid is None or not (tmp_path / "a.ready").exists():
            return "no answer"
        stopped = psutil.Process(pid).status() == psutil.STATUS_STOPPED
        return "no answer" if stopped else None

    code = STAYS + touching("a") + "time.sleep(60)"
    try:
        await supervisor.start(python_child("a", code, tmp_path, ready=answers, watched=True))
        first = supervisor.records["a"].pid
        assert first is not None
        await asyncio.sleep(0.5)
        assert supervisor.records["a"].pid == first, "one that answers is left alone"
        os.kill(first, signal.SIGSTOP)
        await until(lambda: supervisor.records["a"].pid not in (None, first))
        await until(lambda: supervisor.records["a"].state is ChildState.RUNNING)
        assert "a did not answer 4 times and was killed" in reports.about("restart 1")[0]
    finally:
        await supervisor.stop_all([])
