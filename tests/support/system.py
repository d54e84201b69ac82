"""The whole embedded system as a user starts it, on free ports and in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from infra.embedded.home import Home
from infra.embedded.operator import broker_headers_of, operator_of
from infra.embedded.state import is_process

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 90.0

# Each system that is started adds its own authority.
TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# One for all: making a client takes longer than a call.
http = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0), verify=TRUST)


@dataclass
class System:
    """A running system: its processes, addresses and books."""

    home: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    output: Path = field(init=False)

    def __post_init__(self) -> None:
        self.output = self.home / "output.txt"

    def start(self) -> None:
        """Start it and wait until every service has been started."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "infra.embedded"],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.until(
            lambda: self.state().get("phase") == "running", START_TIMEOUT_S, "the system to run"
        )
        TRUST.load_verify_locations(self.home / "credentials" / "tls" / "ca.crt")

    def stop(self) -> int:
        """Ask it to end as Ctrl-C does; return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def state(self) -> dict[str, Any]:
        """Return what the supervisor says of itself, empty before it says anything.

        What one that was killed left behind does not count.
        """
        try:
            text = (self.home / "run" / "state.json").read_text()
            found: dict[str, Any] = json.loads(text)
        except (ValueError, FileNotFoundError):
            return {}
        return found if is_process(found["pid"], found["created"]) else {}

    def pid(self, name: str) -> int | None:
        """Return the process id of a part while it runs."""
        facts = self.state().get("children", {}).get(name, {})
        if facts.get("state") != "running" or not is_process(facts["pid"], facts["created"]):
            return None
        pid: int = facts["pid"]
        return pid

    def kill(self, name: str) -> bool:
        """SIGKILL one part; False when it is not running just now."""
        pid = self.pid(name)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def url(self, name: str) -> str:
        """Return where a part answers."""
        scheme = "https" if name == "gateway" else "http"
        return f"{scheme}://127.0.0.1:{self.state()['ports'][name]}"

    def request(
        self, method: str, path: str, service: str = "gateway", **options: Any
    ) -> httpx.Response:
        """Send a request as who may do everything there: the operator, or the broker's client."""
        home = Home(self.home, "")
        if service == "broker_simulator":
            options["headers"] = {**broker_headers_of(home), **options.get("headers", {})}
        else:
            options.setdefault("auth", operator_of(home))
        options.setdefault("timeout", 10)
        return http.request(method, f"{self.url(service)}{path}", **options)

    def get(self, path: str, service: str = "gateway", **params: Any) -> Any:
        """GET a path, through the gateway unless a service is named; return the JSON."""
        response = self.request("GET", path, service, params=params)
        response.raise_for_status()
        return response.json()

    def all(self, path: str, **params: Any) -> list[Any]:
        """Return all items of a paged list."""
        items: list[Any] = []
        after = None
        while True:
            page = self.get(path, limit=200, **params, **({"after": after} if after else {}))
            items += page["items"]
            after = page["next"]
            if not after:
                return items

    def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        """POST through the gateway."""
        return self.request("POST", path, json=body or {}, headers=headers, timeout=15)

    def tradewind(self, *arguments: str) -> str:
        """Type a command, as a user in a second terminal does; return what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"tradewind {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def until(self, check: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait until `check` is true; a service that is away counts as "not yet"."""
        deadline = time.monotonic() + within_s
        last: Exception | None = None
        while time.monotonic() < deadline:
            try:
                if check():
                    return
                last = None
            except (httpx.HTTPError, KeyError) as error:
                last = error
            if self.process is not None and self.process.poll() is not None:
                break
            time.sleep(0.2)
        raise AssertionError(f"waited {within_s} s for {what}; last error: {last!r}\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of what the system printed and of the services' logs."""
        parts = [self.output.read_text(errors="replace")[-3000:]] if self.output.exists() else []
        for log in sorted(self.home.rglob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            bad = [line for line in lines if '"error"' in line or "Traceback" in line][-5:]
            if bad:
                parts.append(f"--- {log.name}\n" + "\n".join(line[:600] for line in bad))
        return "\n".join(parts)

    def log(self, name: str) -> str:
        """Return the log of one part."""
        return "".join(
            path.read_text(errors="replace") for path in sorted(self.home.rglob(f"{name}*.log"))
        )


@contextmanager
def running_system(
    home: Path, *, register: Callable[[System], object] | None = None, **environment: str
) -> Iterator[System]:
    """Start a system under `home`; stop it, and leave nothing behind, at the end.

    `register` is given the system before it is started, for proxies that look up its ports.
    """
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o755)
    system = System(
        home,
        {
            "TRADEWIND_HOME": str(home),
            "TRADEWIND_PORTS": "auto",
            "TRADEWIND_DISK_FREE_MB_MIN": "100",
            # Tests and loads ask as fast as they can, all from one address.
            "TRADEWIND_REQUESTS_PER_SECOND": "100000",
            "TRADEWIND_CALLER_REQUESTS_PER_SECOND": "100000",
            **environment,
        },
    )
    if register is not None:
        register(system)
    try:
        system.start()
        yield system
    finally:
        process = system.process
        if process is not None and process.poll() is None:
            system.stop()
