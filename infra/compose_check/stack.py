"""One Compose project, what it says of itself, and its gateway."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from infra.embedded.ports import LOOPBACK, free_ports
from infra.routes import API, ROOT
from infra.tls.trust import AUTHORITY
from libs.common.runtime.auth.roles import OPERATOR
from libs.common.runtime.auth.service_tokens import ServiceTokens
from libs.common.runtime.clocks import SystemClock

PROJECT = "tradewind-check"
POLL_S = 2.0
PROMETHEUS = "http://127.0.0.1:9090"


class CheckError(Exception):
    """The stack did not do what it should."""


class Stack:
    """One Compose project and where it publishes."""

    def __init__(self) -> None:
        self.port, self.plain_port = free_ports(2)
        self._env = {
            **os.environ,
            "TRADEWIND_GATEWAY_PORT": str(self.port),
            "TRADEWIND_GATEWAY_HTTP_PORT": str(self.plain_port),
        }
        self._trust: ssl.SSLContext | None = None
        self._operator: ServiceTokens | None = None

    def compose(self, *arguments: str, timeout_s: float = 300.0) -> str:
        """Run `docker compose …` and return its output; raises CheckError when it fails."""
        return self._docker("compose", "-p", PROJECT, *arguments, timeout_s=timeout_s)

    def _docker(self, *arguments: str, timeout_s: float = 60.0) -> str:
        command = ["docker", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError as error:
            raise CheckError("there is no `docker` command on this machine") from error
        except subprocess.TimeoutExpired as error:
            raise CheckError(f"{' '.join(command)} took more than {timeout_s:g} s") from error
        if done.returncode != 0:
            raise CheckError(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
        return done.stdout

    def containers(self) -> list[dict[str, Any]]:
        """Return what `docker compose ps` says of every container."""
        text = self.compose("ps", "--all", "--format", "json").strip()
        if text.startswith("["):
            rows: list[dict[str, Any]] = json.loads(text)
            return rows
        return [json.loads(line) for line in text.splitlines()]

    def inspected(self) -> dict[str, dict[str, Any]]:
        """Return what the engine knows of every container, by service."""
        ids = [row["ID"] for row in self.containers()]
        found: list[dict[str, Any]] = json.loads(self._docker("inspect", *ids))
        return {facts["Config"]["Labels"]["com.docker.compose.service"]: facts for facts in found}

    def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the gateway's JSON answer: to a POST of `body`, to a GET without one.

        Raises OSError (HTTPError for a refusal) or ValueError.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://{LOOPBACK}:{self.port}{path}", data)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=10, context=self.trust()) as answer:  # nosec B310 # our stack
            return json.load(answer)

    def get(self, path: str) -> Any:
        """Return the gateway's JSON answer, the API's as to the operator.

        Raises OSError or ValueError.
        """
        return self.ask(path, None, self.operator().headers() if path.startswith(API) else None)

    def operator(self) -> ServiceTokens:
        """Return what signs as the person at the machine; the stack's secrets hold the key."""
        if self._operator is None:
            seed = self.compose(
                "run", "--rm", "--no-deps", "-T", "--entrypoint", "cat",
                "migrate", f"/run/secrets/key_{OPERATOR}",
            )  # fmt: skip
            self._operator = ServiceTokens(OPERATOR, seed.strip(), SystemClock())
        return self._operator

    def trust(self) -> ssl.SSLContext:
        """Return what holds the gateway's certificate against the stack's own authority."""
        if self._trust is None:
            pem = self.compose("exec", "-T", "gateway", "cat", f"/run/secrets/{AUTHORITY}")
            self._trust = ssl.create_default_context(cadata=pem)
        return self._trust

    def figures(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus, which is not published, answers to an expression."""
        text = self.compose(
            "exec", "-T", "prometheus",
            "promtool", "query", "instant", "--format=json", PROMETHEUS, expression,
        )  # fmt: skip
        found: list[dict[str, Any]] = json.loads(text)
        return found


def until(what: str, timeout_s: float, condition: Callable[[], str]) -> None:
    """Wait until `condition` returns no complaint; raises CheckError with the last one."""
    started = time.monotonic()
    complaint = ""
    while time.monotonic() - started < timeout_s:
        try:
            complaint = condition()
        except (OSError, ValueError) as error:
            complaint = str(error)
        if not complaint:
            print(f"ok   {what} ({time.monotonic() - started:.0f} s)", flush=True)
            return
        time.sleep(POLL_S)
    raise CheckError(f"{what}: {complaint}")
