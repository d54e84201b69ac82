"""What a supervisor says of itself, and how others tell whether it still lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.embedded.errors import AlreadyRunningError
from infra.embedded.home import Home
from infra.embedded.state import RunState, created, end_leftovers, is_process, only_one, read


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "var", "history")
    home.prepare(free_mb_min=1)
    return home


def state_of(pid: int, **changes: object) -> RunState:
    fields: dict[str, object] = {
        "pid": pid,
        "created": created(pid),
        "phase": "running",
        "books": "history",
        "broker": "simulator",
        "gateway": "http://127.0.0.1:8000",
        "ports": {"gateway": 8000},
    }
    return RunState(**{**fields, **changes})  # type: ignore[arg-type]


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_own_state_is_read_back(home: Home) -> None:
    written = state_of(os.getpid())
    written.write(home)
    found = read(home)
    assert found is not None
    assert (found.pid, found.gateway) == (written.pid, written.gateway)


def test_state_of_a_dead_supervisor_is_none(home: Home) -> None:
    process = sleeper()
    state_of(process.pid).write(home)
    process.kill()
    process.wait()
    assert read(home) is None


def test_process_that_ended_but_was_not_reaped_counts_as_gone() -> None:
    process = sleeper()
    began = created(process.pid)
    assert is_process(process.pid, began)
    process.kill()
    deadline = time.monotonic() + 10
    while is_process(process.pid, began):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.wait()


def test_recycled_pid_is_not_the_old_process() -> None:
    assert not is_process(os.getpid(), created(os.getpid()) - 100)


def test_missing_and_foreign_state_are_none(home: Home) -> None:
    assert read(home) is None
    home.state_file.write_text(json.dumps({"something": "else"}))
    assert read(home) is None


def test_only_one_holds_the_lock(home: Home) -> None:
    refused = pytest.raises(AlreadyRunningError, match="already running")
    with only_one(home.lock_file), refused, only_one(home.lock_file):
        pytest.fail("two held the lock")
    with only_one(home.lock_file):
        pass


def test_leftovers_are_ended_and_strangers_left_alone(home: Home) -> None:
    ours, stranger = sleeper(), sleeper()
    children = {
        "audit": {"pid": ours.pid, "created": created(ours.pid)},
        "portfolio": {"pid": stranger.pid, "created": created(stranger.pid) - 100},
        "monitoring": {"pid": None, "created": 0.0},
    }
    state_of(os.getpid(), children=children).write(home)
    assert end_leftovers(home) == ["audit"]
    assert created(ours.pid) == 0.0
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    ours.wait()
