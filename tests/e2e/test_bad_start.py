"""A start that cannot succeed ends soon, says why in one line, and leaves nothing running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.embedded.settings import ALPACA_KEY_NAMES, ALPACA_SECRET_NAMES, SHORT_NAMES
from tests.support.full_disk import small_disk
from tests.support.system import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.timeout(300)]

UNSET = {*ALPACA_KEY_NAMES, *ALPACA_SECRET_NAMES, *SHORT_NAMES}
BEFORE_ANYTHING_S = 30.0
BEFORE_TRADING_S = 60


@pytest.fixture
def home(server_directory: Path, tmp_path: Path) -> Path:
    """A home that PostgreSQL's account can reach."""
    home = server_directory / tmp_path.name
    home.mkdir()
    home.chmod(0o755)
    return home


def start(home: Path, within_s: float, **environment: str) -> str:
    """Start the system, which must fail within the time; return the line with the error."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in UNSET and not name.startswith("TRADEWIND_")
    }
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "infra.embedded"],
        cwd=ROOT,
        env={
            **inherited,
            "TRADEWIND_HOME": str(home),
            "TRADEWIND_PORTS": "auto",
            "TRADEWIND_DISK_FREE_MB_MIN": "100",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert time.monotonic() - begun < within_s
    assert running_under(home) == []
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    return errors[0]


def running_under(home: Path) -> list[str]:
    """Return the processes that work for `home`."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(home) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(process.name())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"BROKER": "alpaca"}, ["APCA_API_KEY_ID and APCA_API_SECRET_KEY"]),
        ({"BROKER": "moon"}, ["BROKER", "'simulator' or 'alpaca'"]),
        ({"FEED": "moon", "FACTOR": "nan"}, ["FEED", "'replay'", "FACTOR", "finite"]),
        ({"FEED": "replay"}, ["FEED=replay needs FILE"]),
        ({"FEED": "replay", "FILE": "/no/such.csv"}, ["/no/such.csv", "No such file"]),
        ({"TRADEWIND_PORTS": "fixed", "TRADEWIND_AUDIT_PORT": "x"}, ["TRADEWIND_AUDIT_PORT=x"]),
        ({"TRADEWIND_DISK_FREE_MB_MIN": "99999999"}, ["99999999 MiB are needed"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_choice_is_refused_before_anything_starts(
    home: Path, environment: dict[str, str], named: list[str]
) -> None:
    line = start(home, BEFORE_ANYTHING_S, **environment)
    assert [word for word in named if word not in line] == []
    assert not list(home.glob("books/*/postgres"))


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("columns.csv", b"a,b\n1,2\n", "columns.csv: column symbol is missing"),
        ("empty.csv", b"", "empty.csv is empty"),
    ],
)
def test_a_file_without_a_market_in_it_is_refused(
    home: Path, tmp_path: Path, name: str, content: bytes, named: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert named in start(home, BEFORE_TRADING_S, FEED="replay", FILE=str(path))


def test_a_redis_that_does_not_answer_is_named(home: Path) -> None:
    line = start(home, BEFORE_TRADING_S, TRADEWIND_REDIS_URL="redis://127.0.0.1:1/0")
    assert "TRADEWIND_REDIS_URL" in line
    assert "127.0.0.1:1" in line


def test_a_disk_that_fills_while_the_database_is_made_is_named(home: Path) -> None:
    with small_disk(home / "books", 16):
        line = start(home, BEFORE_TRADING_S)
    assert "No space left on device" in line or "initdb" in line
    assert str(home / "books") in line
