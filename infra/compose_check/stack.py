"""`make compose-check`: build the Compose stack, see it trade and be observed, take it down.

Needs a Docker engine (DOCKER_HOST) with Compose. Runs as a project of its own on free ports,
beside whatever else runs, and removes its containers and volumes at the end. `--keep` leaves the
stack up.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from infra.embedded.ports import LOOPBACK, free_ports
from infra.routes import API, PORTS, ROOT, ROUTES, TITLES
from infra.tls.trust import AUTHORITY
from libs.common.runtime.auth.roles import OPERATOR
from libs.common.runtime.auth.service_tokens import ServiceTokens
from libs.common.runtime.clocks import SystemClock

PROJECT = "tradewind-check"
UP_TIMEOUT_S = 1500.0
HEALTHY_TIMEOUT_S = 300.0
TRADES_TIMEOUT_S = 240.0
TARGETS_TIMEOUT_S = 60.0
QUERIES_TIMEOUT_S = 240.0
POLL_S = 2.0
JOBS = frozenset({"secrets", "certificate", "migrate", "gotify_token"})
PROMETHEUS = "http://127.0.0.1:9090"
CLOSED = ("/metrics", "/docs", "/openapi.json", "/ready", "/sim/clock", "/api/v1/query")
DASHBOARDS = ROOT / "grafana" / "dashboards"


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
        command = ["docker", "compose", "-p", PROJECT, *arguments]
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

    def get(self, path: str) -> Any:
        """Return the gateway's JSON answer, the API's as to the operator.

        Raises OSError or ValueError.
        """
        request = urllib.request.Request(f"https://{LOOPBACK}:{self.port}{path}")
        for name, value in self.operator().headers().items() if path.startswith(API) else ():
            request.add_header(name, value)
        trust = self.trust()
        with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # nosec B310 # our stack
            return json.load(answer)

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


def unhealthy(stack: Stack) -> str:
    """Return which containers are not as they should be, empty when all are."""
    complaints = []
    for row in stack.containers():
        name, state, health = row["Service"], row["State"], row.get("Health", "")
        if name in JOBS:
            if state != "exited" or row["ExitCode"] != 0:
                complaints.append(f"{name} {state} ({row['ExitCode']})")
        elif state != "running" or health not in ("healthy", ""):
            complaints.append(f"{name} {state} {health}")
    return ", ".join(complaints)


def not_trading(stack: Stack) -> str:
    """Return what is missing of signals, orders, trades and positions at the gateway."""
    missing = [
        path
        for path in (
            "/api/v1/strategies/signals?limit=1",
            "/api/v1/orders?limit=1",
            "/api/v1/orders/trades?limit=1",
            "/api/v1/portfolio/positions",
        )
        if not stack.get(path)["items"]
    ]
    return f"nothing yet at {', '.join(missing)}" if missing else ""


def targets_down(stack: Stack) -> str:
    """Return which services Prometheus cannot scrape."""
    up = {row["metric"]["job"]: row["value"][1] for row in stack.figures("up")}
    return ", ".join(name for name in PORTS if up.get(name) != "1")


def expressions() -> Iterator[tuple[str, str]]:
    """Return every panel's queries as (dashboard and panel, expression)."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "1m")
                yield f"{dashboard['title']} / {panel['title']}", expression


def empty_panels(stack: Stack, waiting: dict[str, str]) -> str:
    """Return which queries of `waiting` give no data; what has given some is taken out."""
    for name, expression in list(waiting.items()):
        if stack.figures(expression):
            del waiting[name]
    return f"no data in {'; '.join(waiting)}" if waiting else ""


def wide_open(stack: Stack) -> str:
    """Return what is published beside the gateway, or not on the loopback interface."""
    rows = stack.compose("ps", "--format", "{{.Service}} {{.Ports}}").splitlines()
    return ", ".join(
        f"{service} {address}"
        for service, _, ports in (row.partition(" ") for row in rows)
        for address in re.findall(r"(\S+):\d+->", ports)
        if service != "gateway" or address != LOOPBACK
    )


def unhardened(stack: Stack) -> str:
    """Return a complaint unless HTTP leads to HTTPS and what must not be reached is not."""
    connection = http.client.HTTPConnection(LOOPBACK, stack.plain_port, timeout=10)
    connection.request("GET", "/api/v1/orders?limit=1")
    answer = connection.getresponse()
    leads_to = answer.getheader("Location")
    connection.close()
    wanted = f"https://{LOOPBACK}:{stack.port}/api/v1/orders?limit=1"
    if answer.status != 308 or leads_to != wanted:
        return f"HTTP answers {answer.status} {leads_to}"
    for path in CLOSED:
        try:
            stack.get(path)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                continue
            return f"{path} answers {error.code}"
        return f"{path} is open"
    return ""


def check(stack: Stack) -> None:
    """Do all checks; raises CheckError at the first that fails."""
    started = time.monotonic()
    stack.compose("up", "--build", "--detach", timeout_s=UP_TIMEOUT_S)
    print(f"ok   built and started ({time.monotonic() - started:.0f} s)", flush=True)
    until("all containers healthy", HEALTHY_TIMEOUT_S, lambda: unhealthy(stack))
    until("only the gateway is published, on the loopback", 5, lambda: wide_open(stack))
    until("HTTPS only, and nothing beside the routes", 10, lambda: unhardened(stack))
    for route in ROUTES:
        until(f"{route.path} is routed", 30, partial(unrouted, stack, route.path))
    until("it trades", TRADES_TIMEOUT_S, lambda: not_trading(stack))
    until("Prometheus scrapes every service", TARGETS_TIMEOUT_S, lambda: targets_down(stack))
    waiting = dict(expressions())
    until("every panel has data", QUERIES_TIMEOUT_S, lambda: empty_panels(stack, waiting))
    until("Grafana and Gotify answer under their paths", 60, lambda: boards_away(stack))
    stack.compose("stop", timeout_s=UP_TIMEOUT_S)
    stack.compose("up", "--detach", timeout_s=UP_TIMEOUT_S)
    print("ok   stopped and started again", flush=True)
    until("all containers healthy again", HEALTHY_TIMEOUT_S, lambda: unhealthy(stack))
    until("the books are still there", 30, lambda: not_trading(stack))
    until("no difference with the broker", 60, lambda: differences(stack))


def unrouted(stack: Stack, path: str) -> str:
    """Return a complaint unless the answer below `path` comes from a service of ours."""
    try:
        stack.get(f"{path}/no/such/thing")
    except urllib.error.HTTPError as error:
        detail = str(json.load(error).get("detail"))
        return detail if detail in {text for _, text in TITLES.values()} else ""
    return ""


def differences(stack: Stack) -> str:
    """Return what differs between our books and the broker's."""
    found = stack.get("/api/v1/orders/reconciliation")["discrepancies"]
    return json.dumps(found) if found else ""


def boards_away(stack: Stack) -> str:
    """Return a complaint unless Grafana and Gotify are healthy behind the gateway."""
    health = stack.get("/grafana/api/health")
    if health.get("database") != "ok":
        return f"Grafana says {health}"
    health = stack.get("/gotify/health")
    return "" if health.get("health") == "green" else f"Gotify says {health}"


def main() -> int:
    """Run the check; return the exit code."""
    stack = Stack()
    try:
        check(stack)
    except CheckError as error:
        print(f"FAIL {error}", flush=True)
        try:
            print(stack.compose("ps", "--all"))
            print(stack.compose("logs", "--no-color", "--tail", "15")[-20_000:])
        except CheckError as further:
            print(further)
        return 1
    finally:
        if "--keep" not in sys.argv[1:]:
            stack.compose("down", "--volumes", "--remove-orphans", timeout_s=180)
    print("the stack is fine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
