"""The executor as a process of its own, that a test may kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from infra.embedded.ports import free_port
from tests.support.executor_world import QUICK
from tests.support.simulator import Simulator
from tests.support.tokens import SEEDS

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 150.0


class ExecutorProcess:
    """`python -m services.trade_executor.main` on a free port."""

    def __init__(
        self,
        simulator: Simulator,
        database_url: str,
        redis_url: str,
        log: Path,
        **settings: object,
    ) -> None:
        self._log = log
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        values = {
            **QUICK,
            "database_url": database_url,
            "redis_url": redis_url,
            "port": self._port,
            "service_key": SEEDS["trade_executor"],
            **settings,
        }
        self._environment = {
            **{f"TRADEWIND_{name.upper()}": str(value) for name, value in values.items()},
            **simulator.environment(),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.trade_executor.main"],
                cwd=_ROOT,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until it is ready; raises RuntimeError with its log's end."""
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/ready", timeout=2, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"not ready:\n{self._log.read_text(errors='replace')[-4000:]}")

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process else None

    @property
    def ended(self) -> bool:
        """Whether it has come to an end."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(20)
