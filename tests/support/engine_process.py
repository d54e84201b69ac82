"""The strategy engine as a process of its own, that a test may kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from infra.embedded.ports import free_port

_ROOT = Path(__file__).resolve().parents[2]
# Long: strategy files may have to be compiled first.
_START_S = 240.0


class EngineProcess:
    """`python -m services.strategy_engine.main` on a free port."""

    def __init__(self, database_url: str, redis_url: str, log: Path, **settings: object) -> None:
        self._log = log
        self._port = free_port()
        values: Mapping[str, object] = {
            "database_url": database_url,
            "redis_url": redis_url,
            "port": self._port,
            "outbox_sweep_s": 0.2,
            **settings,
        }
        self._environment = {
            f"TRADEWIND_{name.upper()}": v if isinstance(v, str) else json.dumps(v)
            for name, v in values.items()
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the engine's address."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.strategy_engine.main"],
                cwd=_ROOT,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/ready", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"not ready:\n{self._log.read_text(errors='replace')[-3000:]}")

    def kill(self) -> None:
        """SIGKILL it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def pause(self) -> None:
        """SIGSTOP it: it stands still, its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)
