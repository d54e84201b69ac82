"""Starting, stopping and reading the logs of the embedded system."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.client import home
from cli.errors import CommandError, Exit
from infra.embedded import state
from infra.embedded.home import Home
from infra.embedded.logs import LogFiles
from infra.embedded.state import RunState
from infra.routes import ROOT

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 120.0
POLL_S = 0.2
IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def absolute(files: str | None) -> str | None:
    """Return comma-separated files as absolute paths: the system may run in another directory."""
    if files is None:
        return None
    return ",".join(str(Path(name.strip()).expanduser().absolute()) for name in files.split(","))


def choose(**choices: object) -> None:
    """Put the given choices into the environment, where the embedded runtime reads them."""
    for name, value in choices.items():
        if value is not None:
            os.environ[f"TRADEWIND_{name.upper()}"] = str(value)


def start() -> int:
    """Run the system in the foreground; return its exit code."""
    from infra.embedded.main import main

    return main()


def start_detached(console: Console) -> int:
    """Run the system in the background and return when it is up."""
    where = home()
    running = state.read(where)
    if running is not None:
        console.print(f"already running (pid {running.pid}) at {running.gateway}")
        return Exit.OK
    where.logs.mkdir(parents=True, exist_ok=True)
    log = where.logs / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.embedded"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    console.print("starting …")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CommandError(f"it did not start:\n{log.read_text(errors='replace').strip()}")
        running = state.read(where)
        if running is not None and running.phase == "running":
            console.print(f"running (pid {running.pid}) at {running.gateway}")
            return Exit.OK
        time.sleep(POLL_S)
    raise CommandError(f"it is not up after {START_TIMEOUT_S:g} s; `tradewind logs` shows why")


def stop(console: Console) -> None:
    """Ask the running supervisor to shut down and wait for its end."""
    running = state.read(home())
    if running is None:
        console.print("nothing runs")
        return
    os.kill(running.pid, signal.SIGTERM)
    console.print(f"stopping (pid {running.pid}) …")
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while state.is_process(running.pid, running.created):
        if time.monotonic() > deadline:
            raise CommandError(
                f"pid {running.pid} still runs after {STOP_TIMEOUT_S:g} s; "
                "`tradewind logs` shows what it waits for"
            )
        time.sleep(POLL_S)
    console.print("stopped")


def show_log(name: str, lines: int, *, follow: bool) -> None:
    """Print the end of a log, and what is added to it until Ctrl-C."""
    where = home()
    path = _log_path(where, name)
    sys.stdout.write(LogFiles(where.logs, bytes_max=1, keep=1).tail(name, lines) + "\n")
    sys.stdout.flush()
    if follow:
        try:
            _follow(path)
        except KeyboardInterrupt:
            return


def _log_path(where: Home, name: str) -> Path:
    known = sorted(path.stem for path in where.logs.glob("*.log"))
    if name not in known:
        listed = ", ".join(known) if known else f"none: nothing ever ran in {where.root}"
        raise CommandError(f"there is no log called {name!r}; there are {listed}")
    return where.logs / f"{name}.log"


def _follow(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        while True:
            chunk = file.read(65_536)
            if chunk:
                sys.stdout.write(chunk.decode(errors="replace"))
                sys.stdout.flush()
            elif path.stat().st_size < file.tell():
                file.seek(0)  # the supervisor has cut it
            else:
                time.sleep(POLL_S)


def services_of(health: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the services of monitoring's health answer."""
    services = health.get("services")
    if isinstance(services, dict):
        return [{"service": name, **value} for name, value in sorted(services.items())]
    return services if isinstance(services, list) else []


def path_part(identifier: str) -> str:
    """Return an id that may stand in a path; raises CommandError for anything else."""
    if IDENTIFIER.fullmatch(identifier) is None:
        raise CommandError(f"{identifier!r} is not an id", Exit.USAGE)
    return identifier


def running_state() -> RunState | None:
    """Return the embedded system that runs in our home, None where none does."""
    return state.read(home())
