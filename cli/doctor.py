"""`tradewind doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

import httpx
from rich.text import Text

from cli.client import DEFAULT_URL, gateway_url, home, verification
from cli.errors import CommandError
from infra.embedded import gateway, postgres_install, redis_server, state
from infra.embedded.errors import EmbeddedError
from infra.embedded.home import MEBIBYTE, Home
from infra.embedded.layout import GATEWAY_HTTP_PORT, GATEWAY_PORT
from infra.embedded.plan import reasons_of
from infra.embedded.ports import LOOPBACK, holder, is_free
from infra.embedded.state import RunState
from infra.routes import PORTS

PYTHON_MIN, PYTHON_END = (3, 11), (3, 14)
DISK_MB_MIN = 1024
TIMEOUT_S = 3.0
CERTIFICATE_DAYS_MIN = 14


class Verdict(StrEnum):
    """How a check came out."""

    FINE = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what was seen, and what to do if it is not fine."""

    subject: str
    verdict: Verdict
    seen: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return asdict(self)


def line(finding: Finding) -> Text:
    """Return the finding as one line, its remedy below."""
    styles = {Verdict.FINE: "green", Verdict.NOTE: "yellow", Verdict.WRONG: "red"}
    text = Text.assemble(
        (f"{finding.verdict:<6}", styles[finding.verdict]), f"{finding.subject}: {finding.seen}"
    )
    if finding.remedy:
        text.append(f"\n       → {finding.remedy}", style="bold")
    return text


def examine() -> list[Finding]:
    """Look at everything; needs nothing to run."""
    where = home()
    findings = [*_machine(where)]
    running = state.read(where)
    if running is None:
        findings += _stopped()
    else:
        findings += _processes(running)
        findings += _services(running)
    return findings


def _machine(where: Home) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if PYTHON_MIN <= sys.version_info[:2] < PYTHON_END:
        yield Finding("python", Verdict.FINE, version)
    else:
        yield Finding(
            "python", Verdict.WRONG, version, "make the environment with Python 3.11, 3.12 or 3.13"
        )
    place = next(path for path in (where.root, *where.root.parents) if path.exists())
    free_mb = shutil.disk_usage(place).free // MEBIBYTE
    if free_mb >= DISK_MB_MIN:
        yield Finding("disk", Verdict.FINE, f"{free_mb} MiB free at {place}")
    else:
        yield Finding(
            "disk",
            Verdict.WRONG,
            f"{free_mb} MiB free at {place}",
            "free some space, or move the state with TRADEWIND_HOME=/path",
        )
    yield _writable(where)
    yield from _binaries()


def _writable(where: Home) -> Finding:
    if not where.root.exists():
        return Finding("state", Verdict.NOTE, f"{where.root} does not exist: nothing ever ran here")
    try:
        where.prepare(free_mb_min=0)
    except EmbeddedError as error:
        return Finding("state", Verdict.WRONG, str(error), error.remedy)
    return Finding("state", Verdict.FINE, f"{where.root} is writable")


def _binaries() -> Iterator[Finding]:
    installed = postgres_install.installations()
    if installed:
        versions = ", ".join(map(str, sorted(installed)))
        yield Finding("postgresql", Verdict.FINE, f"version {versions} installed")
    else:
        yield Finding("postgresql", Verdict.WRONG, "its package is missing", "run `make env`")
    for name, find in (
        ("redis", redis_server.find_binary),
        ("gateway", gateway.find_binary),
    ):
        try:
            yield Finding(name, Verdict.FINE, str(find()))
        except EmbeddedError as error:
            yield Finding(name, Verdict.WRONG, str(error), error.remedy)


def _stopped() -> Iterator[Finding]:
    yield Finding(
        "system", Verdict.NOTE, "not running", "start it with `make run` or `tradewind up`"
    )
    if gateway_url() != DEFAULT_URL:
        return
    gateways = {"gateway": GATEWAY_PORT, "gateway_http": GATEWAY_HTTP_PORT}
    for name, port in {**gateways, **PORTS}.items():
        if not is_free(port):
            yield Finding(
                f"port {port}",
                Verdict.WRONG,
                f"needed by {name}, taken by {holder(port)}",
                f"stop that process, or set TRADEWIND_{name.upper()}_PORT",
            )


def _processes(running: RunState) -> Iterator[Finding]:
    yield Finding(
        "system", Verdict.FINE, f"{running.phase}, pid {running.pid}, books {running.books}"
    )
    for name, facts in running.children.items():
        restarts = facts.get("restarts")
        if facts.get("state") != "running":
            yield Finding(
                name,
                Verdict.WRONG,
                f"{facts.get('state')}, {facts.get('reason') or 'no reason given'} "
                f"({restarts} restarts)",
                f"look at `tradewind logs {name}`",
            )
        elif restarts:
            yield Finding(
                name,
                Verdict.NOTE,
                f"runs, but was restarted {restarts} times",
                f"look at `tradewind logs {name}`",
            )


def _services(running: RunState) -> Iterator[Finding]:
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
        for name, port in running.ports.items():
            if name in PORTS:
                yield _readiness(client, name, f"http://{LOOPBACK}:{port}/ready")
    yield _gateway(running)
    certificate = _certificate(running)
    if certificate is not None:
        yield certificate


def _certificate(running: RunState) -> Finding | None:
    """Return until when the gateway's certificate holds; None where it cannot be read."""
    url = httpx.URL(running.gateway)
    trust = verification(running.gateway)
    if not isinstance(trust, ssl.SSLContext) or url.port is None:
        return None
    try:
        with (
            socket.create_connection((url.host, url.port), timeout=TIMEOUT_S) as plain,
            trust.wrap_socket(plain, server_hostname=url.host) as connection,
        ):
            told = connection.getpeercert() or {}
    except OSError:  # the finding of the gateway says why
        return None
    ends = str(told["notAfter"])
    left_days = int((ssl.cert_time_to_seconds(ends) - time.time()) // 86_400)
    seen = f"holds until {ends}, {left_days} days"
    if left_days >= CERTIFICATE_DAYS_MIN:
        return Finding("certificate", Verdict.FINE, seen)
    remedy = "put a new one in the place of TRADEWIND_TLS_CERT and TRADEWIND_TLS_KEY"
    return Finding("certificate", Verdict.NOTE, seen, remedy)


def _readiness(client: httpx.Client, name: str, url: str) -> Finding:
    logs = f"look at `tradewind logs {name}`"
    try:
        response = client.get(url)
    except httpx.TimeoutException:
        return Finding(name, Verdict.WRONG, f"{url} does not answer in {TIMEOUT_S:g} s", logs)
    except httpx.HTTPError as error:
        return Finding(name, Verdict.WRONG, f"{url}: {error}", logs)
    if response.status_code == 200:
        return Finding(name, Verdict.FINE, "ready")
    reasons = reasons_of(response) or f"status {response.status_code}"
    return Finding(name, Verdict.WRONG, f"not ready: {reasons}", remedy_of(reasons) or logs)


REMEDIES = (
    ("database", "look at `tradewind logs postgres`; it is restarted by itself if it died"),
    ("redis", "look at `tradewind logs redis`; it is restarted by itself if it died"),
    ("clock", "the broker simulator does not answer: `tradewind logs broker_simulator`"),
    ("broker", "is the broker reachable, are the keys right? `tradewind logs trade_executor`"),
    ("reconcil", "books and broker differ: `GET /api/v1/orders/reconciliation` lists where"),
)


def remedy_of(reasons: str) -> str:
    """Return what to do about a reason that /ready gives, empty where none is known."""
    lower = reasons.lower()
    return next((remedy for word, remedy in REMEDIES if word in lower), "")


def _gateway(running: RunState) -> Finding:
    try:
        with httpx.Client(
            timeout=TIMEOUT_S, trust_env=False, verify=verification(running.gateway)
        ) as client:
            response = client.get(f"{running.gateway}/health")
    except (httpx.HTTPError, CommandError) as error:
        seen = f"{running.gateway}: {error}"
        return Finding("gateway", Verdict.WRONG, seen, "look at `tradewind logs gateway`")
    if response.status_code == 200:
        return Finding("gateway", Verdict.FINE, running.gateway)
    return Finding("gateway", Verdict.WRONG, f"{running.gateway} answers {response.status_code}")
