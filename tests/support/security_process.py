"""The security service as a process of its own, listening on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from infra.embedded.ports import free_port
from infra.routes import ROOT
from libs.common.runtime.secrets import new_key
from tests.support.tokens import SEEDS

START_S = 90.0


@contextmanager
def security_process(
    database_url: str, redis_url: str, log: Path, **settings: object
) -> Iterator[str]:
    """Run the service, quick to hash; yield its address."""
    port = free_port()
    values = {
        "database_url": database_url,
        "redis_url": redis_url,
        "port": port,
        "encryption_keys": new_key(),
        "service_key": SEEDS["security"],
        "password_time_cost": 1,
        "password_memory_kib": 8,
        "refusal_s": 0.01,
        **settings,
    }
    given = {f"TRADEWIND_{name.upper()}": str(value) for name, value in values.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.security.main"],
            cwd=ROOT,
            env={**os.environ, **given},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/ready", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"not ready:\n{log.read_text(errors='replace')[-4000:]}")
