"""Bad input and lost servers at the running system: each is named, none stops or loses anything.

Requests, the command, a broken strategy file, a full disk, PostgreSQL and Redis that hang while
orders are traded and while services start; after each the same processes are ready again and the
books equal the broker's.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from infra.embedded.credentials import Credentials
from infra.embedded.home import Home
from infra.embedded.operator import broker_headers_of, operator_of
from libs.common.contracts.channels import DEAD_LETTERS
from tests.e2e.test_embedded_lifecycle import command
from tests.support.full_disk import SmallDisk, small_disk
from tests.support.system import TRUST, System, running_system
from tests.support.tie_out import differences, truth

pytestmark = [pytest.mark.e2e, pytest.mark.serial, pytest.mark.timeout(420)]

SERVICES = (
    "broker_simulator", "audit", "security", "data_collector", "monitoring", "portfolio",
    "risk_manager", "trade_executor", "strategy_engine", "backtester",
)  # fmt: skip
FULL_S = 8.0
ORDERS = "/api/v1/orders"
WMT = {"symbol": "WMT", "side": "buy", "quantity": "1"}
LIMIT = {**WMT, "order_type": "limit"}
LIMIT_UNKNOWN = {"name": "no.such", "value": "1", "reason": "test"}
NOBODY = "6f1d0f0e-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def disks() -> dict[str, SmallDisk]:
    """The small disks under the system, by name; empty where none can be mounted."""
    return {}


@pytest.fixture(scope="module")
def system(server_directory: Path, disks: dict[str, SmallDisk]) -> Iterator[System]:
    home = server_directory / "bad-input"
    with ExitStack() as stack:
        with contextlib.suppress(pytest.skip.Exception):
            for name, path, size in (
                ("postgres", "books/history/postgres", 400),
                ("logs", "logs", 40),
            ):
                disks[name] = stack.enter_context(small_disk(home / path, size))
        strategies = home / "strategies"
        strategies.mkdir(parents=True)
        (strategies / "broken.py").write_text("def step(\n")
        (strategies / "absent.py").write_text("import no_such_module\n")
        system = stack.enter_context(running_system(home))
        system.until(lambda: len(truth(system)["executions"]) >= 5, 120, "trading to begin")
        yield system


@pytest.fixture
def whole(system: System) -> Iterator[None]:
    """After the test: the same processes, all ready, and books equal to the broker's."""
    before = {name: system.pid(name) for name in SERVICES}
    yield
    system.until(lambda: not waiting(system), 60, "every service to be ready")
    assert {name: system.pid(name) for name in SERVICES} == before, system.tail()
    agree(system)


def agree(system: System) -> None:
    """Wait until a moment shows our books equal to the broker's: trading goes on meanwhile."""
    found: list[str] = []

    def equal() -> bool:
        found[:] = differences(system)
        return not found

    try:
        system.until(equal, 30, "the books to agree")
    except AssertionError:
        assert found == []
        raise


def waiting(system: System) -> dict[str, dict[str, str]]:
    """Return why services are not ready, by service."""
    found = {}
    for name in SERVICES:
        try:
            answer = httpx.get(f"{system.url(name)}/ready", timeout=5)
        except httpx.TransportError as error:
            found[name] = {"process": repr(error)}
            continue
        if answer.status_code != 200:
            found[name] = answer.json()["reasons"]
    return found


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


REQUESTS: list[tuple[str, str, Any, int, str]] = [
    # what is wrong: method, path, body, status, what the answer names
    ("POST", ORDERS, {**WMT, "quantity": "-1"}, 422, "body.quantity"),
    ("POST", ORDERS, {**WMT, "quantity": "Infinity"}, 422, "body.quantity"),
    ("POST", ORDERS, {**WMT, "quantity": "1e400"}, 422, "body.quantity"),
    ("POST", ORDERS, {**WMT, "quantity": "1.000000001"}, 422, "body.quantity"),
    ("POST", ORDERS, {**WMT, "quantity": True}, 422, "body.quantity"),
    ("POST", ORDERS, {**WMT, "symbol": "W M"}, 422, "body.symbol"),
    ("POST", ORDERS, {**LIMIT, "limit_price": "nan"}, 422, "body.limit_price"),
    ("POST", ORDERS, LIMIT, 422, "limit_price"),
    ("POST", ORDERS, {**WMT, "notional": "10"}, 422, "notional"),
    ("POST", ORDERS, {**WMT, "take_profit": {"x": 1}}, 422, "body.take_profit.x"),
    ("POST", ORDERS, [WMT], 422, "body"),
    ("POST", ORDERS, b'{"symbol": "WMT", ', 422, "JSON"),
    ("POST", ORDERS, b"\xff\xfe\x00", 400, "parsing the body"),
    ("POST", ORDERS, b'{"symbol":"WMT","side":"buy","quantity":NaN}', 422, "body.quantity"),
    ("POST", ORDERS, b"[" * 100_000, 400, "body"),
    ("POST", ORDERS, b" " * 1_100_000, 413, "1048576 bytes"),
    ("GET", f"{ORDERS}?limit=-1", None, 422, "query.limit"),
    ("GET", f"{ORDERS}?after=zzz", None, 422, "after"),
    ("GET", f"{ORDERS}?colour=red", None, 422, "colour"),
    ("GET", f"{ORDERS}/zzz", None, 422, "path.order_id"),
    ("GET", f"{ORDERS}/{NOBODY}", None, 404, NOBODY),
    ("DELETE", f"{ORDERS}/{NOBODY}", None, 404, NOBODY),
    ("POST", "/api/v1/risk/halt", {}, 422, "body.reason"),
    ("POST", "/api/v1/risk/halt", {"reason": "x" * 10_000}, 422, "body.reason"),
    ("POST", "/api/v1/risk/resume", {"reason": "a\0b"}, 422, "body.reason"),
    ("POST", "/api/v1/risk/preview", {"x": 1}, 422, "body.x"),
    ("PUT", "/api/v1/risk/limits", LIMIT_UNKNOWN, 422, "no.such"),
    ("POST", "/api/v1/strategies/nosuch/mode", {"mode": "live"}, 404, "nosuch"),
    ("POST", "/api/v1/strategies/sma_cross/mode", {"mode": "fly"}, 422, "body.mode"),
    ("GET", "/api/v1/market/bars?symbol=NOSUCH&timeframe=1m", None, 404, "NOSUCH"),
    ("GET", "/api/v1/market/bars?symbol=WMT&timeframe=7x", None, 422, "query.timeframe"),
    ("GET", "/api/v1/market/quotes/latest?symbols=NOSUCH", None, 404, "NOSUCH"),
    ("GET", "/api/v1/portfolio/ledger?after=x", None, 422, "query.after"),
    ("PUT", "/api/v1/portfolio/account", {}, 405, "Method Not Allowed"),
    ("GET", "/api/v1/audit/trace/zzz", None, 422, "path.story_id"),
    ("GET", "/api/v1/audit/events?since=yesterday", None, 422, "query.since"),
    ("GET", "/api/v1/monitoring/alerts?level=loud", None, 422, "query.level"),
    ("GET", "/api/v1/nothing", None, 404, "no route"),
]


@pytest.mark.usefixtures("whole")
def test_bad_requests_are_refused_by_name(system: System) -> None:
    wrong = []
    operator = operator_of(Home(system.home, ""))
    with httpx.Client(
        base_url=system.url("gateway"), auth=operator, timeout=15, verify=TRUST
    ) as client:
        for method, path, body, status, named in REQUESTS:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            headers = {"content-type": "application/json", **key()}
            answer = client.request(method, path, content=content, headers=headers)
            media = answer.headers.get("content-type", "").split(";")[0]
            if (
                (answer.status_code, media) != (status, "application/problem+json")
                or named not in answer.text
            ):  # fmt: skip
                wrong.append(
                    f"{method} {path} {str(body)[:80]}: {answer.status_code} {answer.text}"
                )
    assert wrong == []


@pytest.mark.usefixtures("whole")
def test_an_order_that_fits_no_instrument_is_denied_with_a_code(system: System) -> None:
    cases = [
        ({**WMT, "symbol": "NOSUCH"}, "INSTRUMENT_UNKNOWN", "NOSUCH"),
        ({**LIMIT, "limit_price": "20.00001"}, "PRICE_OFF_TICK", "20.00001"),
        ({**WMT, "quantity": "999999999"}, "QUANTITY_ABOVE_LIMIT", "999999999"),
    ]
    for body, code, named in cases:
        answer = system.post(ORDERS, body, **key()).json()
        assert answer["status"] == "denied", answer
        assert answer["reject_reason"].startswith(code)
        assert named in answer["reject_reason"]


@pytest.mark.usefixtures("whole")
def test_bad_requests_to_the_simulated_broker_are_refused_by_name(system: System) -> None:
    with httpx.Client(base_url=system.url("broker_simulator"), timeout=15) as client:
        assert client.get("/v2/account").status_code == 401
        assert client.post("/sim/clock", json={"factor": 2}).status_code == 401
        client.headers.update(broker_headers_of(Home(system.home, "")))
        for path, body, named in (
            ("/sim/clock", {"factor": "nan"}, "body.factor"),
            ("/sim/faults", {"surprise": 1}, "surprise"),
            ("/sim/market", {"quotes": [{"symbol": "WMT"}]}, "body.quotes.0.bid"),
        ):
            answer = client.post(path, json=body)
            assert (answer.status_code, named in answer.text) == (422, True), answer.text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("order", "buy", "WMT", "nan"), "quantity"),
        (("order", "buy", "NOSUCH", "1"), "INSTRUMENT_UNKNOWN"),
        (("trace", "zzz"), "story_id"),
    ],
)
def test_the_command_says_what_is_wrong(
    system: System, arguments: tuple[str, ...], named: str
) -> None:
    done = command(system, "cli", *arguments)
    assert done.returncode != 0
    assert named in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_broken_strategy_file_is_named_and_the_others_trade(system: System) -> None:
    log = system.log("strategy_engine")
    assert "broken.py:1: syntax: '(' was never closed" in log
    assert "absent.py:1: ModuleNotFoundError: No module named 'no_such_module'" in log
    running = {one["id"]: one["status"] for one in system.get("/api/v1/strategies")["items"]}
    assert running == {"sma_cross": "running", "rsi_reversion": "running"}


@pytest.mark.usefixtures("whole")
def test_a_full_disk_of_the_database_loses_nothing(
    system: System, disks: dict[str, SmallDisk]
) -> None:
    disk = disk_of(disks, "postgres")
    told: set[str] = set()
    refused = []
    try:
        deadline = time.monotonic() + FULL_S
        while time.monotonic() < deadline:
            disk.fill()
            with contextlib.suppress(httpx.TransportError):
                answer = system.post(ORDERS, WMT, **key())
                refused += [answer.text] if answer.status_code == 503 else []
            told |= {n for n, why in waiting(system).items() if "No space left" in str(why)}
    finally:
        disk.free()
    assert told, "no service said that the disk is full"
    assert {json.loads(text)["code"] for text in refused} <= {"unavailable"}
    system.until(lambda: not waiting(system), 60, "every service to be ready")
    assert dead_letters(system) == 0
    system.until(lambda: system.get("/api/v1/audit/verify")["valid"], 30, "the audit chain")


@pytest.mark.usefixtures("whole")
def test_a_full_disk_of_the_logs_stops_nothing(system: System, disks: dict[str, SmallDisk]) -> None:
    disk = disk_of(disks, "logs")
    before = len(truth(system)["executions"])
    disk.fill()
    try:
        assert system.get(ORDERS, limit=1)["items"]
        assert system.post(ORDERS, {**WMT, "quantity": "NaN"}, **key()).status_code == 422
        system.until(lambda: len(truth(system)["executions"]) > before, 60, "trading to go on")
    finally:
        disk.free()


@pytest.mark.parametrize(("server", "killed"), [("postgres", "portfolio"), ("redis", "audit")])
def test_a_server_that_hangs_is_named_waited_for_and_costs_nothing(
    system: System, server: str, killed: str
) -> None:
    before = {name: system.pid(name) for name in SERVICES}
    named = {"postgres": "database", "redis": "redis"}[server]
    waiters = set(SERVICES) - {"broker_simulator"}

    def all_say() -> bool:
        found = waiting(system)
        return {name for name, why in found.items() if named in str(why)} >= waiters

    with stopped(system, server):
        assert system.kill(killed)
        system.until(all_say, 30, f"every service to name {named}")
        started = time.monotonic()
        answer = system.post(ORDERS, WMT, **key())
        assert time.monotonic() - started < 15
        if server == "postgres":
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    system.until(lambda: not waiting(system), 60, "every service to be ready")
    after = {name: system.pid(name) for name in SERVICES}
    assert {name for name in SERVICES if after[name] != before[name]} == {killed}
    executions = len(truth(system)["executions"])
    system.until(lambda: len(truth(system)["executions"]) > executions, 60, "trading to go on")
    agree(system)


def disk_of(disks: dict[str, SmallDisk], name: str) -> SmallDisk:
    if name not in disks:
        pytest.skip("a disk of a size cannot be mounted here")
    return disks[name]


def dead_letters(system: System) -> int:
    state = system.state()
    password = Credentials(Home(system.home, state["books"])).secret("redis")
    with redis.Redis(port=state["ports"]["redis"], password=password) as client:
        return int(client.xlen(DEAD_LETTERS))


@contextmanager
def stopped(system: System, server: str) -> Iterator[None]:
    """Stop a server and its children without ending them: it neither answers nor refuses."""
    pid = system.pid(server)
    assert pid is not None
    main = psutil.Process(pid)
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
