"""Starting, finding, crashing, stopping and continuing the embedded system."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.embedded.layout import STOP_ORDER
from infra.embedded.ports import free_ports
from infra.routes import PORTS
from tests.support.system import ROOT, System

pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def system(trading_system: System) -> System:
    """The system that the module after this one goes on with."""
    return trading_system


def command(
    system: System, *arguments: str, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **system.environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_a_second_run_finds_the_first_and_leaves_it_running(system: System, tmp_path: Path) -> None:
    output = tmp_path / "second.txt"
    with output.open("w") as shown:
        second = subprocess.Popen(
            [sys.executable, "-m", "infra.embedded"],
            cwd=ROOT,
            env={**os.environ, **system.environment},
            stdout=shown,
        )
    deadline = time.monotonic() + 30
    while "services ok" not in output.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 0
    said = output.read_text()
    assert f"already runs (pid {system.state()['pid']}" in said
    assert system.state()["gateway"] in said
    assert "the system goes on" in said
    assert system.get("/health")["status"] == "ok"


def test_other_books_are_refused_while_one_runs(system: System) -> None:
    other = System(system.home, {**system.environment, "FEED": "synthetic"})
    refused = command(other, "infra.embedded")
    assert refused.returncode == 1
    assert "stop it first" in refused.stdout


def test_secrets_are_in_no_log_and_no_output(system: System) -> None:
    secrets = (system.home / "credentials" / "secrets.json").read_text()
    values = [part for part in secrets.split('"') if len(part) >= 32]
    assert len(values) >= 10
    written = [system.output, *(system.home / "logs").glob("*.log")]
    for path in written:
        text = path.read_text(errors="replace")
        assert not [value for value in values if value in text], path


def test_a_killed_service_comes_back(system: System) -> None:
    system.until(lambda: system.pid("portfolio") is not None, 60, "the portfolio to run")
    first = system.pid("portfolio")
    assert system.kill("portfolio")
    system.until(lambda: system.pid("portfolio") not in (None, first), 30, "another portfolio")
    assert "portfolio ended with SIGKILL" in system.log("supervisor")
    system.until(lambda: "account_id" in system.get("/api/v1/portfolio/account"), 30, "its answer")


def test_the_command_sees_the_running_system(system: System) -> None:
    done = command(system, "cli", "orders", "--limit", "3")
    assert done.returncode == 0, done.stderr
    system.until(
        lambda: "wrong" not in command(system, "cli", "doctor").stdout, 60, "a content doctor"
    )


def test_stop_is_in_order_and_clean_and_the_next_run_continues(system: System) -> None:
    system.until(lambda: len(system.all("/api/v1/orders/trades")) >= 3, 120, "three trades")
    before = {trade["id"] for trade in system.all("/api/v1/orders/trades")}
    done = command(system, "cli", "down", timeout_s=100)
    assert done.returncode == 0, done.stderr
    assert system.process is not None
    assert system.process.wait(10) == 0
    stops = [
        line.split()[2] for line in system.log("supervisor").splitlines() if " stopped (" in line
    ]
    assert tuple(stops) == STOP_ORDER
    unclean = [
        line
        for line in system.log("supervisor").splitlines()
        if " stopped (" in line and "(exit code 0)" not in line
    ]
    assert unclean == []
    assert system.state() == {}

    system.start()
    after = {trade["id"] for trade in system.all("/api/v1/orders/trades")}
    assert before <= after
    reconciliation = system.get("/api/v1/orders/reconciliation")
    assert reconciliation["discrepancies"] == []


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        names = [*PORTS, "gateway", "postgres", "redis"]
        ports = {
            f"TRADEWIND_{name.upper()}_PORT": str(port)
            for name, port in zip(names, free_ports(len(names)), strict=True)
        }
        system = System(
            tmp_path,
            {
                **ports,
                "TRADEWIND_HOME": str(tmp_path),
                "TRADEWIND_PORTS": "fixed",
                "TRADEWIND_RISK_MANAGER_PORT": str(taken),
            },
        )
        refused = command(system, "infra.embedded")
    assert refused.returncode == 1
    assert f"port {taken}, which risk_manager needs, is taken by" in refused.stdout
    assert "TRADEWIND_RISK_MANAGER_PORT" in refused.stdout
    assert not (tmp_path / "books" / "history" / "postgres").exists()
