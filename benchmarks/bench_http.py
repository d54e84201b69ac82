"""HTTP reads per second, through the gateway and at the service.

The embedded system stands with its market halted; 32 keep-alive connections ask for the account.
The floor is a bare FastAPI `/ping` on one worker, loaded the same way in the same run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.http_load import Load, run_load
from benchmarks.results import Measurement, percentiles
from infra.embedded.home import Home
from infra.embedded.operator import operator_of
from infra.embedded.ports import free_port
from tests.support.system import ROOT, TRUST, running_system

PATH = "/api/v1/portfolio/account"
SECONDS = 5.0
PING = """
import sys, uvicorn
from fastapi import FastAPI
app = FastAPI()
@app.get("/ping")
async def ping():
    return {"status": "ok"}
uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="error")
"""


def run() -> list[Measurement]:
    """Return requests a second and p99 of one read, direct and through the gateway."""
    with tempfile.TemporaryDirectory(prefix="tradewind-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o755)
        with running_system(directory, FACTOR="1") as system, _ping() as ping:
            system.until(lambda: bool(system.get(PATH)), 60, "an account")
            operator = operator_of(Home(directory, ""))
            assert operator is not None
            who = operator.headers()
            for url in (ping, system.url("portfolio") + PATH, system.url("gateway") + PATH):
                run_load(url, seconds=1.0, trust=TRUST, headers=who)
            floor = run_load(ping, seconds=SECONDS)
            direct = run_load(system.url("portfolio") + PATH, seconds=SECONDS, headers=who)
            gateway = run_load(
                system.url("gateway") + PATH, seconds=SECONDS, trust=TRUST, headers=who
            )
    return [
        *_figures("read at the service", direct, floor, None),
        *_figures("read through the gateway", gateway, floor, 0.6),
    ]


def _figures(
    name: str, load: Load, floor: Load, target_ratio: float | None
) -> Iterator[Measurement]:
    figures = percentiles(load.latencies_ms)
    yield Measurement(
        name,
        load.per_second,
        "requests/s",
        floor=floor.per_second,
        floor_name="bare FastAPI /ping",
        target_ratio=target_ratio,
        note=f"n={load.requests}, errors {load.errors}, 32 connections, system running beside",
    )
    yield Measurement(
        f"{name}, p99",
        figures["p99"],
        "ms",
        target_value=30.0 if target_ratio else None,
        higher_is_better=False,
        note=f"p50 {figures['p50']:.1f}, p99.9 {figures['p99.9']:.1f}, max {figures['max']:.1f}",
    )


@contextmanager
def _ping() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", PING, str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}/ping"
    try:
        for _ in range(100):
            try:
                httpx.get(url)
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)
