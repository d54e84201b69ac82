"""Signal in, judgement stored, order out: on a real database and a real Redis."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import psycopg
import pytest

from libs.common.domain.checks import CODES
from libs.common.domain.vocabulary import OrderStatus, StrategyMode
from libs.common.strategy.fusion import with_fusion
from libs.common.strategy.fusion_runner import FusionRunner
from libs.common.strategy.registry import load_directories
from services.risk_manager.main import build
from services.risk_manager.settings import RiskSettings
from services.strategy_engine.features import features_of
from tests.support.bar_feed import daily_bars
from tests.support.risk_world import SimClock, World, seed, sim_clock
from tests.support.runtimes import eventually, ready, serving
from tests.support.tokens import service_headers


async def assess(service: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    """Ask for a judgement, as the executor alone may."""
    return await service.post(
        "/api/v1/risk/assessments", json=body, headers=service_headers("trade_executor")
    )


BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"


@pytest.fixture
def clock() -> Iterator[SimClock]:
    with sim_clock() as running:
        yield running


@pytest.fixture
async def world(database_url: str, redis_url: str, clock: SimClock) -> AsyncIterator[World]:
    seed(database_url)
    world = World(database_url, redis_url, clock)
    yield world
    await world.close()


@pytest.fixture
def settings(database_url: str, redis_url: str, clock: SimClock) -> RiskSettings:
    return RiskSettings.model_validate(
        {
            "port": 0,
            "database_url": database_url,
            "redis_url": redis_url,
            "clock_url": clock.url,
            "outbox_sweep_s": 0.1,
            "claim_idle_s": 1.0,
            "risk_settle_s": 1.0,
            # These tests tell of executions that stand in no table.
            "risk_refresh_s": 300.0,
        }
    )


@pytest.fixture
async def service(settings: RiskSettings, world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(build(settings)) as client:
        await ready(client)
        yield client


async def quoted(world: World, service: httpx.AsyncClient, symbol: str, price: float) -> None:
    """Quote until the service judges by that price."""

    async def seen() -> bool:
        await world.quote(symbol, price)
        reply = (await service.post("/api/v1/risk/preview", json=preview(symbol))).json()
        return reply["assessment"].get("reference_price") is not None

    await eventually(seen, what=f"a price of {symbol}")


def preview(symbol: str, **order: object) -> dict[str, object]:
    return {
        "account_id": "main",
        "order": {"symbol": symbol, "side": "buy", "quantity": "1"} | order,
    }


def request(symbol: str, **order: object) -> dict[str, object]:
    deadline = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    return {
        **preview(symbol, **order),
        "request_id": str(uuid.uuid4()),
        "deadline": deadline.isoformat(),
    }


async def test_signal_is_sized_judged_stored_and_approved(
    world: World, service: httpx.AsyncClient
) -> None:
    await quoted(world, service, "AAPL", 100.0)
    signal = world.signal("AAPL", 1.0)
    await world.send(signal)

    async def there() -> bool:
        return len(await world.approved()) == 1

    await eventually(there, what="an approved order")
    (envelope,) = await world.approved()
    order = envelope.payload
    # 4 % of 1 000 000 at 100 is 400 shares.
    assert order.spec.quantity == 400
    assert order.signal_id == signal.signal_id
    assert order.assessment.verdict == "approved"
    assert [c.code for c in order.assessment.checks][:2] == ["SIGNAL_SUPERSEDED", "NOTHING_TO_DO"]
    (row,) = world.rows("SELECT * FROM risk_assessments")
    assert row["order_id"] == order.order_id
    assert row["hold"] == Decimal("40402.0200")
    assert row["correlation_id"] == envelope.correlation_id
    book = (await service.get("/api/v1/risk/exposure")).json()
    assert book["reservations"] == 1
    assert book["held"] == "40402.02"


@pytest.fixture(scope="module")
def fused_decision() -> tuple[np.void, dict[str, float]]:
    """A decision of a fusion between its members' targets; made before the service starts, for
    stepping a strategy holds up the event loop."""
    definition = with_fusion(load_directories([BUILT_IN])).get("fusion").definition
    weights = {"sma_cross.weight": 2.0, "rsi_reversion.weight": 1.0, "trips_min": 2}
    runner = FusionRunner(definition, weights)
    decisions = (s.decision for bar in daily_bars("AAPL", 240) for s in runner.take({"": bar}))
    return next(d for d in decisions if 0.1 < d["target"] < 0.9), features_of(runner)


async def test_a_fused_target_is_sized_as_one_strategy_and_its_members_have_no_orders(
    fused_decision: tuple[np.void, dict[str, float]], world: World, service: httpx.AsyncClient
) -> None:
    decision, features = fused_decision
    target = float(decision["target"])
    await quoted(world, service, "AAPL", 100.0)
    fused = msgspec.structs.replace(
        world.signal("AAPL", target, strategy="both"),
        confidence=float(decision["confidence"]),
        features=features,
    )
    assert {"sma_cross.target", "rsi_reversion.quality"} <= set(fused.features)
    await world.send(fused)

    async def there() -> bool:
        return len(await world.approved()) == 1

    await eventually(there, what="an approved order")
    (envelope,) = await world.approved()
    # 4 % of 1 000 000 at 100 is 400 shares; the fused part of them, in whole ones.
    assert envelope.payload.spec.quantity == math.floor(400 * target)
    rows = world.rows("SELECT strategy_id, verdict FROM risk_assessments")
    assert [(row["strategy_id"], row["verdict"]) for row in rows] == [("both", "approved")]


async def test_redelivered_signal_changes_nothing(world: World, service: httpx.AsyncClient) -> None:
    await quoted(world, service, "AAPL", 100.0)
    await quoted(world, service, "KO", 50.0)
    signal, marker = world.signal("AAPL", 1.0), world.signal("KO", 1.0)
    await world.send(signal)
    await world.send(signal, signal)
    await world.send(marker)

    async def published() -> bool:
        return len(await world.approved()) >= 2

    await eventually(published, what="two approved orders")
    assert len(world.rows("SELECT 1 FROM risk_assessments")) == 2
    orders = [e.payload for e in await world.approved()]
    assert [(o.spec.symbol, o.spec.quantity) for o in orders] == [("AAPL", 400), ("KO", 800)]


async def test_shadow_signal_is_not_judged(world: World, service: httpx.AsyncClient) -> None:
    await quoted(world, service, "AAPL", 100.0)
    shadow = world.signal("AAPL", 1.0, mode=StrategyMode.SHADOW)
    live = world.signal("AAPL", 1.0)
    await world.send(shadow, live)

    async def judged() -> bool:
        return bool(world.rows("SELECT 1 FROM risk_assessments"))

    await eventually(judged, what="a judgement")
    (row,) = world.rows("SELECT signal_id FROM risk_assessments")
    assert row["signal_id"] == live.signal_id


async def test_older_decision_is_superseded(world: World, service: httpx.AsyncClient) -> None:
    await quoted(world, service, "AAPL", 100.0)
    older, newer = world.signal("AAPL", 1.0), world.signal("AAPL", 0.5)
    await world.send(newer, older)

    async def judged() -> bool:
        return len(world.rows("SELECT 1 FROM risk_assessments")) == 2

    await eventually(judged, what="two judgements")
    (row,) = world.rows("SELECT * FROM risk_assessments WHERE signal_id = %s", older.signal_id)
    assert (row["verdict"], row["code"]) == ("denied", "SIGNAL_SUPERSEDED")


async def test_fill_turns_reservation_into_position(
    world: World, service: httpx.AsyncClient
) -> None:
    await quoted(world, service, "AAPL", 100.0)
    await world.send(world.signal("AAPL", 1.0))

    async def there() -> bool:
        return len(await world.approved()) == 1

    await eventually(there, what="an approved order")
    order = (await world.approved())[0].payload
    await world.order_event(order, OrderStatus.CREATED, 1)
    # The end of the order is told before its executions: nothing may be free in between.
    await world.order_event(order, OrderStatus.FILLED, 2, filled=Decimal(400))

    async def confirmed() -> bool:
        book = (await service.get("/api/v1/risk/exposure")).json()
        return bool(book["reservations"] == 0)

    await eventually(confirmed, what="an order instead of the reservation")
    book = (await service.get("/api/v1/risk/exposure")).json()
    assert [p["remaining"] for p in book["pending"]] == ["400"]
    await world.trade(order, Decimal(400), Decimal("100.01"))

    async def filled() -> bool:
        book = (await service.get("/api/v1/risk/exposure")).json()
        return book["positions"] == [{"symbol": "AAPL", "quantity": "400"}]

    await eventually(filled, what="the position")
    book = (await service.get("/api/v1/risk/exposure")).json()
    assert book["pending"] == []
    assert book["cash"] == "959996"
    assert book["held"] == "0"


async def test_request_is_judged_once_and_its_order_comes_in_the_reply(
    world: World, service: httpx.AsyncClient
) -> None:
    await quoted(world, service, "KO", 50.0)
    body = request("KO", quantity="100", order_type="limit", limit_price="50.10")
    first = (await assess(service, body)).json()
    again = (await assess(service, body)).json()
    assert first["verdict"] == "approved"
    assert first["order"]["order_id"] == body["request_id"]
    assert first["order"]["spec"]["limit_price"] == "50.10"
    assert again["replayed"] is True
    assert again["order"]["assessment"]["assessment_id"] == first["assessment"]["assessment_id"]
    assert await world.approved() == []
    assert len(world.rows("SELECT 1 FROM risk_assessments")) == 1
    listed = (await service.get("/api/v1/risk/assessments")).json()["items"]
    assert listed[0]["request_id"] == body["request_id"]


async def test_request_too_large_is_denied_with_every_check(
    world: World, service: httpx.AsyncClient
) -> None:
    await quoted(world, service, "KO", 50.0)
    reply = (await assess(service, request("KO", quantity="3000"))).json()
    assert (reply["verdict"], reply["code"]) == ("denied", "POSITION_ABOVE_LIMIT")
    assert reply["detail"].startswith("150000 against 100000")
    assert reply["order"] is None
    assert [one["code"] for one in reply["assessment"]["checks"]] == list(CODES)


async def test_preview_leaves_no_trace(world: World, service: httpx.AsyncClient) -> None:
    await quoted(world, service, "KO", 50.0)
    reply = (await service.post("/api/v1/risk/preview", json=preview("KO", quantity="10"))).json()
    assert reply["verdict"] == "approved"
    assert reply["order"] is None
    assert world.rows("SELECT 1 FROM risk_assessments") == []
    assert (await service.get("/api/v1/risk/exposure")).json()["reservations"] == 0


async def test_halt_denies_raises_generation_and_is_published(
    world: World, service: httpx.AsyncClient
) -> None:
    await quoted(world, service, "KO", 50.0)
    before = (await service.get("/api/v1/risk/state")).json()
    halted = (await service.post("/api/v1/risk/halt", json={"reason": "fire drill"})).json()
    assert (before["state"], halted["state"]) == ("active", "halted")
    assert halted["generation"] == before["generation"] + 1
    reply = (await assess(service, request("KO"))).json()
    assert (reply["verdict"], reply["code"]) == ("denied", "TRADING_STATE")
    resumed = (await service.post("/api/v1/risk/resume", json={"reason": "drill over"})).json()
    assert (resumed["state"], resumed["generation"]) == ("active", halted["generation"] + 1)
    reply = (await assess(service, request("KO"))).json()
    assert reply["verdict"] == "approved"
    assert reply["order"]["generation"] == resumed["generation"]
    sent = world.rows("SELECT channel FROM outbox WHERE source = 'risk_manager' ORDER BY seq")
    channels = [row["channel"] for row in sent]
    assert channels.count("commands.trade_executor") == 2
    assert channels.count("risk.alerts") == 2


async def test_limit_change_holds_at_once_and_keeps_history(
    world: World, service: httpx.AsyncClient
) -> None:
    await quoted(world, service, "KO", 50.0)
    change = {"name": "notional_max", "value": "400", "reason": "calm"}
    answer = await service.put("/api/v1/risk/limits", json=change)
    assert answer.status_code == 200
    assert (answer.json()["old_value"], answer.json()["value"]) == ("250000", "400")
    reply = (await service.post("/api/v1/risk/preview", json=preview("KO", quantity="10"))).json()
    assert reply["code"] == "NOTIONAL_ABOVE_LIMIT"
    history = (await service.get("/api/v1/risk/limits/history?limit=1")).json()
    assert history["items"][0]["set_by"] == "service:operator"
    assert (history["items"][0]["old_value"], history["items"][0]["new_value"]) == (
        "250000",
        "400",
    )
    limits = (await service.get("/api/v1/risk/limits?scope=account")).json()["items"]
    assert {row["name"]: row["value"] for row in limits}["notional_max"] == "400"


async def test_bad_limits_and_reasons_are_refused_naming_the_field(
    service: httpx.AsyncClient,
) -> None:
    limit = {"name": "notional_max", "value": "400", "reason": "calm"}
    for field, value in (
        ("value", "NaN"), ("value", "1e999"), ("value", "-1"), ("value", "1e-30"),
        ("value", True), ("value", "1_000"), ("name", "nosuch"), ("scope_key", "a\0"),
        ("reason", "\0"), ("colour", "red"),
    ):  # fmt: skip
        answer = await service.put("/api/v1/risk/limits", json={**limit, field: value})
        assert answer.status_code == 422, answer.text
        assert field in answer.json()["detail"]
    for path in ("halt", "reduce", "resume"):
        answer = await service.post(f"/api/v1/risk/{path}", json={"reason": "a\0b"})
        assert answer.status_code == 422, answer.text
        assert "reason" in answer.json()["detail"]
    answer = await service.get(f"/api/v1/risk/limits/history?after={2**63}")
    assert (answer.status_code, "after" in answer.json()["detail"]) == (422, True)


async def test_expired_reservation_gives_its_headroom_back(
    settings: RiskSettings, world: World
) -> None:
    short = settings.model_copy(update={"risk_reservation_s": 2.0, "risk_reservation_grace_s": 0.0})
    async with serving(build(short)) as service:
        await ready(service)
        await quoted(world, service, "KO", 50.0)
        await assess(service, request("KO", quantity="100"))
        assert (await service.get("/api/v1/risk/exposure")).json()["reservations"] == 1

        async def released() -> bool:
            book = (await service.get("/api/v1/risk/exposure")).json()
            return bool(book["reservations"] == 0 and book["held"] == "0")

        await eventually(released, what="the release")


async def test_restart_gives_the_same_book(settings: RiskSettings, world: World) -> None:
    async with serving(build(settings)) as service:
        await ready(service)
        await quoted(world, service, "AAPL", 100.0)
        await world.send(world.signal("AAPL", 1.0))
        body = request("AAPL", quantity="10", order_type="limit", limit_price="99.00")

        async def there() -> bool:
            return len(await world.approved()) == 1

        await eventually(there, what="an approved order")
        await assess(service, body)
        before = (await service.get("/api/v1/risk/exposure")).json()
    async with serving(build(settings)) as service:
        await ready(service)
        after = (await service.get("/api/v1/risk/exposure")).json()
    for figure in ("cash", "held", "reservations", "positions", "pending"):
        assert after[figure] == before[figure], figure


BAD_BODIES: list[tuple[str, dict[str, object], str]] = [
    ("assessments", {"order": {}}, "request_id"),
    ("preview", preview("KO", quantity="-1"), "quantity"),
    ("preview", preview("KO", quantity="NaN"), "quantity"),
    ("preview", preview("KO", quantity="Infinity"), "quantity"),
    ("preview", preview("KO", colour="blue"), "colour"),
    ("preview", preview("KO", side="hold"), "side"),
    ("preview", preview("KO", limit_price="5"), "limit_price"),
    ("preview", preview("KO", notional="5"), "exactly one"),
    ("preview", preview("KO", order_class="bracket"), "order_class"),
    ("halt", {}, "reason"),
    ("halt", {"reason": ""}, "reason"),
]


async def test_bad_body_is_refused_by_field(service: httpx.AsyncClient) -> None:
    for path, body, field in BAD_BODIES:
        who = service_headers("trade_executor") if path == "assessments" else {}
        answer = await service.post(f"/api/v1/risk/{path}", json=body, headers=who)
        assert answer.status_code == 422, body
        assert answer.headers["content-type"] == "application/problem+json"
        assert field in answer.text, body


BAD_LIMITS: list[dict[str, object]] = [
    {"name": "nonsense", "value": "1"},
    {"name": "notional_max", "value": "-1"},
    {"name": "notional_max", "value": "NaN"},
    {"name": "notional_max", "value": None},
    {"name": "short_selling", "value": "2"},
    {"name": "drawdown_max", "value": "1.5"},
    {"name": "drawdown_max", "value": "0.1", "scope": "symbol", "scope_key": "KO"},
    {"name": "notional_max", "value": "1", "scope": "symbol"},
    {"name": "notional_max", "value": "1", "scope": "galaxy", "scope_key": "x"},
]


async def test_bad_limit_is_refused(service: httpx.AsyncClient) -> None:
    for change in BAD_LIMITS:
        answer = await service.put("/api/v1/risk/limits", json={"reason": "test", **change})
        assert answer.status_code == 422, change
    assert len((await service.get("/api/v1/risk/limits/history?limit=500")).json()["items"]) < 40


async def test_unknown_symbol_account_and_past_deadline(service: httpx.AsyncClient) -> None:
    reply = (await service.post("/api/v1/risk/preview", json=preview("NOPE"))).json()
    assert (reply["verdict"], reply["code"]) == ("denied", "INSTRUMENT_UNKNOWN")
    other = {**preview("KO"), "account_id": "other"}
    assert (await service.post("/api/v1/risk/preview", json=other)).status_code == 404
    late = {**request("KO"), "deadline": "2020-01-01T00:00:00Z"}
    answer = await assess(service, late)
    assert answer.status_code == 503
    assert "deadline" in answer.json()["detail"]


async def test_losses_set_reducing_then_halted_by_themselves(
    settings: RiskSettings, world: World
) -> None:
    quick = settings.model_copy(update={"risk_watch_s": 0.05, "risk_metrics_s": 0.05})
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO portfolio_positions (account_id, symbol, quantity, avg_cost, realized_pnl)"
            " VALUES ('main', 'KO', 1000, 100, 0)"
        )
    async with serving(build(quick)) as service:
        await ready(service)
        await quoted(world, service, "KO", 100.0)

        async def state(wanted: str) -> bool:
            return bool((await service.get("/api/v1/risk/state")).json()["state"] == wanted)

        async def valued() -> bool:
            return bool(world.rows("SELECT 1 FROM risk_metrics WHERE equity = 1100000"))

        await eventually(valued, what="a valuation")
        # 56 of 1 100 thousand are more than 5 %.
        await world.quote("KO", 44.0)
        await eventually(lambda: state("reducing"), what="reducing")
        exit_ = request("KO", side="sell", quantity="1000")
        reply = (await service.post("/api/v1/risk/preview", json=_without_deadline(exit_))).json()
        assert reply["verdict"] == "approved"
        limit = {"name": "drawdown_max", "value": "0.04", "reason": "test"}
        assert (await service.put("/api/v1/risk/limits", json=limit)).status_code == 200
        await eventually(lambda: state("halted"), what="halted")
        by = (await service.get("/api/v1/risk/state")).json()
        assert (by["set_by"], by["generation"]) == ("rule:DRAWDOWN_ABOVE_LIMIT", 3)
        # A person who resumes is not overruled; the check goes on denying.
        await service.post("/api/v1/risk/resume", json={"reason": "seen"})
        reply = (await service.post("/api/v1/risk/preview", json=preview("KO"))).json()
        assert reply["code"] == "DAILY_LOSS_ABOVE_LIMIT"
        assert await state("active")


def _without_deadline(body: dict[str, object]) -> dict[str, object]:
    return {name: body[name] for name in ("account_id", "order")}
