"""Every field wrong in turn: a problem document that names it, nothing written, nobody asked."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.executor_world import World, executor_world
from tests.support.risk_stand_in import RiskStandIn, serving_risk
from tests.support.simulator import Simulator, start_simulator

ORDERS, TRIGGERS = "/api/v1/orders", "/api/v1/orders/triggers"
GOOD: dict[str, Any] = {
    "symbol": "AAPL", "side": "buy", "quantity": "10", "order_type": "limit", "limit_price": "90",
    "time_in_force": "gtc",
}  # fmt: skip
BRACKET: dict[str, Any] = {
    **GOOD, "order_class": "bracket", "take_profit": {"limit_price": "110"},
    "stop_loss": {"stop_price": "80", "limit_price": "79"},
}  # fmt: skip
NO_AMOUNT: list[Any] = [
    "", "ten", "-1", "0", 0, -5, 1e400, "NaN", "Infinity", "-Infinity", "1e400", "0.000000001",
    "9" * 30, "9" * 100_000, True, [], {"a": 1}, "1_000", "１２", "1,5", "0x10", "💥",
]  # fmt: skip
NO_WORD: list[Any] = [
    "",
    "hold",
    "BUY",
    "buy ",
    1,
    True,
    [],
    {"a": 1},
    "ｂｕｙ",
    "\0",
    "x" * 10_000,
]
NO_SYMBOL: list[Any] = [
    "", " ", "AAPL ", "AA PL", "AAPL\n", "\0", "💥", "Аapl", "Aаpl", "A" * 129, 5, None, [],
    "-AAPL", "'; DROP TABLE orders; --", "<script>", "AAPL%00",
]  # fmt: skip
NO_FLAG: list[Any] = ["maybe", 5, [], {"a": 1}, None]
NO_LEG: list[Any] = ["110", 110, [], {}, {"surprise": "1"}, True]
NO_TIME: list[Any] = ["", "soon", "2026-13-01T00:00:00Z", "2026-03-02T21:00:00", True, [], {"a": 1}]

IN_AN_ORDER: dict[str, list[Any]] = {
    "symbol": NO_SYMBOL,
    "side": [*NO_WORD, None],
    "order_type": [*NO_WORD, None, "trailing"],
    "time_in_force": [*NO_WORD, None, "gtt"],
    "quantity": NO_AMOUNT,
    "notional": NO_AMOUNT,
    "limit_price": [*NO_AMOUNT, None],
    "stop_price": [*NO_AMOUNT, "80"],
    "trail_price": [*NO_AMOUNT, "1"],
    "trail_percent": [*NO_AMOUNT, "1", "100"],
    "extended_hours": NO_FLAG,
    "order_class": [*NO_WORD, None, "oco"],
    "take_profit": NO_LEG,
    "stop_loss": NO_LEG,
    "surprise": [1],
}
IN_AN_AMENDMENT: dict[str, list[Any]] = {
    "quantity": [*NO_AMOUNT, "1.5"],
    "limit_price": NO_AMOUNT,
    "stop_price": [*NO_AMOUNT, "80"],
    "trail": [*NO_AMOUNT, "1"],
    "time_in_force": [*NO_WORD, "gtt"],
    "symbol": ["KO"],
    "surprise": [1],
}
IN_A_TRIGGER: dict[str, list[Any]] = {
    "above": [*NO_AMOUNT, None],
    "below": [*NO_AMOUNT, "90"],
    "valid_until": [*NO_TIME, "2001-01-01T00:00:00Z"],
    "order": ["AAPL", [], None, {}, 5],
    "surprise": [1],
}
NO_BODY: list[bytes] = [
    b"", b"{", b"[]", b'"AAPL"', b"null", b"{}", b"\xff\xfe{}", b'{"symbol": "AAPL\xff"}',
    b"[" * 100_000, b'{"symbol":"AAPL","side":"buy","quantity":' + b"9" * 5000 + b"}",
    b'{"symbol":"AAPL","side":"buy","quantity":NaN}',
    b'{"symbol":"AAPL","side":"buy","quantity":"\\ud800"}', b" " * 2_000_000,
]  # fmt: skip


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        running.quote("AAPL", "100.00", "100.02")
        yield running


@pytest.fixture
def risk() -> RiskStandIn:
    return RiskStandIn()


@pytest.fixture
async def world(
    simulator: Simulator, database_url: str, redis_url: str, risk: RiskStandIn
) -> AsyncIterator[World]:
    async with (
        serving_risk(risk) as url,
        executor_world(simulator, database_url, redis_url, risk_url=url) as running,
    ):
        yield running


async def ask(
    world: World, method: str, path: str, body: Any, key: str | None = None, kind: str | None = None
) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": kind or "application/json"}
    headers["Idempotency-Key"] = key or uuid.uuid4().hex
    return await world.client.request(method, path, content=content, headers=headers)


def require_named(answer: Any, field: str, what: Any) -> None:
    """The answer is a problem of the caller's, and names the field."""
    about = f"{field}: {str(what)[:80]!r} → {answer.status_code} {answer.text[:300]}"
    assert answer.status_code == 422, about
    assert answer.headers["content-type"] == "application/problem+json", about
    problem = answer.json()
    named = [error["field"] for error in problem.get("errors", [])]
    told = problem["detail"] + " ".join(e["message"] for e in problem.get("errors", []))
    assert any(name.startswith(f"body.{field}") for name in named) or field in told, about


async def test_every_field_of_an_order_wrong_in_turn(world: World, risk: RiskStandIn) -> None:
    for field, values in IN_AN_ORDER.items():
        for value in values:
            body = {**BRACKET, field: value}
            require_named(await ask(world, "POST", ORDERS, body), field, value)
            answer = await ask(world, "POST", TRIGGERS, {"order": body, "above": "110"})
            require_named(answer, field, value)
    for leg, fields in (("take_profit", ["limit_price"]), ("stop_loss", ["stop_price"])):
        for field in fields:
            for value in [*NO_AMOUNT, None]:
                body = {**BRACKET, leg: {**BRACKET[leg], field: value}}
                require_named(await ask(world, "POST", ORDERS, body), f"{leg}.{field}", value)
    for missing in ("symbol", "side", "quantity", "limit_price", "take_profit", "stop_loss"):
        body = {name: value for name, value in BRACKET.items() if name != missing}
        require_named(await ask(world, "POST", ORDERS, body), missing, "missing")
    assert risk.asked == 0
    assert _counts(world) == {"orders": 0, "order_triggers": 0}


async def test_every_field_of_amendments_and_triggers_wrong_in_turn(
    world: World, risk: RiskStandIn
) -> None:
    order = (await ask(world, "POST", ORDERS, GOOD)).json()
    await world.until(uuid.UUID(order["id"]), "working")
    path = f"{ORDERS}/{order['id']}"
    for field, values in IN_AN_AMENDMENT.items():
        for value in values:
            require_named(await ask(world, "PATCH", path, {field: value}), field, value)
    for field, values in IN_A_TRIGGER.items():
        for value in values:
            body = {"order": GOOD, "above": "110", field: value}
            require_named(await ask(world, "POST", TRIGGERS, body), field, value)
    assert risk.asked == 1
    assert _counts(world) == {"orders": 1, "order_triggers": 0}
    assert (await world.order(uuid.UUID(order["id"])))["status"] == "working"


async def test_bodies_keys_and_ids_that_are_none(world: World, risk: RiskStandIn) -> None:
    order = (await ask(world, "POST", ORDERS, GOOD, "good")).json()
    await world.until(uuid.UUID(order["id"]), "working")
    unknown = uuid.uuid4()
    calls = [("POST", ORDERS), ("POST", TRIGGERS), ("PATCH", f"{ORDERS}/{order['id']}")]
    for method, path in calls:
        for body in NO_BODY:
            answer = await ask(world, method, path, body)
            about = f"{method} {path} {body[:40]!r}: {answer.text[:200]}"
            assert answer.status_code in {400, 413, 422}, about
            assert answer.headers["content-type"] == "application/problem+json", about
        for kind in ("text/plain", "application/xml", "multipart/form-data"):
            answer = await ask(world, method, path, GOOD, kind=kind)
            assert answer.status_code in {415, 422}, answer.text
        for key in ("k" * 129, "a b", "ü", "\t"):
            headers = {"Idempotency-Key": key.encode("latin-1")}
            answer = await world.client.request(method, path, json=GOOD, headers=headers)
            assert answer.status_code == 422, answer.text
            assert "idempotency-key" in answer.text.lower()
        answer = await world.client.request(method, path, json=GOOD)
        assert answer.status_code == 422
    for method, path, status in (
        ("PATCH", f"{ORDERS}/{unknown}", 404),
        ("PATCH", f"{ORDERS}/nonsense", 422),
        ("DELETE", f"{ORDERS}/{unknown}", 404),
        ("DELETE", f"{ORDERS}/1%00", 400),
        ("DELETE", f"{ORDERS}?symbol=%20", 422),
        ("DELETE", f"{ORDERS}?symbl=AAPL", 422),
        ("GET", f"{TRIGGERS}/{unknown}", 404),
        ("DELETE", f"{TRIGGERS}/{unknown}", 404),
        ("DELETE", f"{TRIGGERS}/nonsense", 422),
        ("GET", f"{TRIGGERS}?status=nonsense", 422),
        ("GET", f"{TRIGGERS}?after=rubbish", 422),
    ):
        answer = await ask(world, method, path, {"quantity": "5"})
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
    # Closed: neither amended nor cancelled, and the old keys still tell of what they stood for.
    assert (await ask(world, "DELETE", f"{ORDERS}/{order['id']}", {})).status_code == 202
    await world.until(uuid.UUID(order["id"]), "canceled")
    for method in ("PATCH", "DELETE"):
        answer = await ask(world, method, f"{ORDERS}/{order['id']}", {"quantity": "5"})
        assert (answer.status_code, "is canceled" in answer.text) == (409, True)
    answer = await ask(world, "POST", ORDERS, GOOD, "good")
    assert (answer.status_code, answer.json()["id"]) == (201, order["id"])
    answer = await ask(world, "PATCH", f"{ORDERS}/{order['id']}", {"quantity": "5"}, "good")
    assert (answer.status_code, "different in act" in answer.text) == (409, True)
    assert risk.asked == 1
    assert _counts(world) == {"orders": 1, "order_triggers": 0}
    assert (await world.client.get("/ready")).status_code == 200
    await world.books_equal()


def _counts(world: World) -> dict[str, int]:
    with psycopg.connect(world.voice.database_url) as connection:
        found = {}
        for table in ("orders", "order_triggers"):
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert row is not None
            found[table] = int(row[0])
        return found
