"""The dossier of an order over a running executor: partly filled, denied, from a signal."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from libs.common.contracts.messages import ApprovedOrder
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import World, executor_world
from tests.support.simulator import Simulator, start_simulator

LEGS = [
    ("signal", "judged"),
    ("judged", "written"),
    ("written", "sent"),
    ("sent", "acknowledged"),
    ("acknowledged", "first_execution"),
    ("first_execution", "last_execution"),
]
CHECKS = [
    {"code": "SYMBOL_RESTRICTED", "passed": True, "value": "", "limit": "", "note": ""},
    {"code": "NOTIONAL_MAX", "passed": True, "value": "1000.2", "limit": "5000", "note": ""},
]
BAR = dt.datetime(2019, 3, 4, 14, 59, tzinfo=dt.UTC)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator(simulator_cash="1000000") as running:
        running.quote("AAPL", "100.00", "100.02")
        running.quote("KO", "100.00", "100.02", ask_size=4)
        yield running


@pytest.fixture
async def world(simulator: Simulator, database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with executor_world(simulator, database_url, redis_url) as running:
        yield running


def record_judgement(
    world: World, order: ApprovedOrder, *, signal_id: uuid.UUID | None = None
) -> None:
    """Write the judgement behind an approval, as the risk manager does before it approves."""
    judged = order.assessment
    with psycopg.connect(world.voice.database_url) as connection:
        connection.execute(
            "INSERT INTO risk_assessments (id, signal_id, request_id, order_id, account_id,"
            " symbol, side, verdict, quantity, reference_price, checks, generation, latency_us,"
            " correlation_id, ts) VALUES"
            " (%s, %s, %s, %s, %s, %s, %s, 'approved', %s, %s, %s, 1, 1, %s, %s)",
            (
                judged.assessment_id,
                signal_id,
                None if signal_id else order.order_id,
                order.order_id,
                order.account_id,
                judged.symbol,
                judged.side,
                judged.quantity,
                judged.reference_price,
                Jsonb(CHECKS),
                uuid.uuid4(),
                judged.ts,
            ),
        )


def record_signal(world: World, signal_id: uuid.UUID, created_at: dt.datetime) -> None:
    """Write a strategy and its signal, as the strategy engine does."""
    with psycopg.connect(world.voice.database_url) as connection:
        connection.execute(
            "INSERT INTO strategies (id, class_name, version_hash, params, universe, timeframe,"
            " mode) VALUES ('mine', 'SmaCross', 'v1', '{}', '[\"AAPL\"]', '1m', 'paper')"
        )
        connection.execute(
            "INSERT INTO signals (id, strategy_id, symbol, timeframe, bar_ts, ts, target,"
            " confidence, reference_price, mode, features, correlation_id, created_at)"
            " VALUES (%s, 'mine', 'AAPL', '1m', %s, %s, 0.1, 1, 100, 'paper', '{}', %s, %s)",
            (signal_id, BAR, BAR + dt.timedelta(minutes=1), uuid.uuid4(), created_at),
        )


async def dossier(world: World, order_id: uuid.UUID) -> Any:
    response = await world.client.get(f"/api/v1/orders/{order_id}/dossier")
    assert response.status_code == 200, response.text
    return response.json()


def record_tick(world: World, ts: dt.datetime, bid: str) -> None:
    """Write a quote, as the data collector does."""
    with psycopg.connect(world.voice.database_url) as connection:
        connection.execute("SELECT ensure_month_partition('market_quotes', %s::date)", (ts,))
        connection.execute(
            "INSERT INTO market_quotes (symbol, ts, bid, ask, provider)"
            " VALUES ('AAPL', %s, %s, 100.02, 'simulator')",
            (ts, bid),
        )


async def wire_of(world: World, order_id: uuid.UUID, least: int) -> list[Any]:
    """The order's wire messages, once at least so many have been written down."""
    async with asyncio.timeout(20):
        while True:
            wire: list[Any] = (await dossier(world, order_id))["wire"]
            if len(wire) >= least:
                return wire
            await asyncio.sleep(0.1)


async def test_the_wire_is_kept_word_for_word(world: World) -> None:
    order = approval(spec("buy", "10"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled")
    wire = await wire_of(world, order.order_id, 3)
    posted = next(one for one in wire if one["method"] == "POST")
    assert (posted["path"], posted["status"]) == ("/v2/orders", 200)
    assert json.loads(posted["sent"])["client_order_id"] == f"tw-{order.order_id}-1"
    assert json.loads(posted["received"])["symbol"] == "AAPL"
    assert posted["took_us"] > 0
    told = [json.loads(one["received"])["data"]["event"] for one in wire if not one["method"]]
    assert "fill" in told
    assert "secret" not in json.dumps(wire).lower()


async def test_a_request_without_an_answer_is_kept_with_its_error(
    world: World, simulator: Simulator
) -> None:
    simulator.fault("lost_answer", method="POST", path="/v2/orders", count=1)
    order = approval(spec("buy", "10"), generation=1)
    await world.send(order)
    await world.until(order.order_id, "filled")
    wire = await wire_of(world, order.order_id, 3)
    lost = next(one for one in wire if one["method"] == "POST")
    assert (lost["status"], lost["received"]) == (None, None)
    assert "BrokenError" in lost["error"]


async def test_a_partly_filled_order_is_told_from_judgement_to_cost(world: World) -> None:
    order = approval(
        spec("buy", "10", limit="100.02", symbol="KO"), generation=1, reference_price="100"
    )
    record_judgement(world, order)
    await world.send(order)
    await world.until(order.order_id, "partially_filled")
    found = await dossier(world, order.order_id)
    page = await world.client.get(f"/api/v1/orders/{order.order_id}/dossier/page")
    assert page.headers["content-type"].startswith("text/html")
    assert f"Order {order.order_id}" in page.text

    assert found["order"]["id"] == str(order.order_id)
    assert (found["order"]["quantity"], found["order"]["limit_price"]) == ("10", "100.02")
    assert (found["bar"], found["signal"]) == (None, None)
    assert found["judgement"]["checks"] == CHECKS
    names = [event["event"] for event in found["events"]]
    assert names[:2] == ["created", "send"]
    assert names[-1] == "partly_filled"
    assert [(one["quantity"], one["executed_price"]) for one in found["executions"]] == [
        ("4", "100.02")
    ]
    assert {line["kind"] for line in found["ledger"]} >= {"pending", "post", "direct"}

    assert [(leg["start"], leg["end"]) for leg in found["latency"]] == LEGS
    took = {leg["start"]: leg["ms"] for leg in found["latency"]}
    assert took["signal"] is None
    assert took["judged"] > 0
    assert took["written"] >= 0
    assert took["sent"] > 0
    assert took["acknowledged"] is not None
    assert took["first_execution"] == 0

    # 4 shares at 100.02 against 100: 0.02 of 100 is 2 bps, 4 x 0.02 = 0.08.
    cost = found["cost"]
    assert (cost["arrival_price"], cost["average_price"], cost["quantity"]) == (
        "100", "100.02", "4",
    )  # fmt: skip
    assert (cost["slippage_bps"], cost["slippage"]) == ("2", "0.08")
    assert Decimal(cost["total"]) == Decimal("0.08") + Decimal(cost["fees"])


async def test_a_denied_order_has_a_dossier_without_executions(world: World) -> None:
    order = approval(spec("buy", "10"), generation=1, lasts_s=-1.0)
    record_judgement(world, order)
    await world.send(order)
    await world.until(order.order_id, "denied")
    found = await dossier(world, order.order_id)
    assert found["order"]["reject_reason"]
    assert found["judgement"]["id"] == str(order.assessment.assessment_id)
    assert [event["event"] for event in found["events"]] == ["created", "deny"]
    assert (found["executions"], found["ledger"]) == ([], [])
    assert [leg["ms"] for leg in found["latency"] if leg["start"] != "judged"] == [None] * 5
    assert found["cost"]["arrival_price"] == "10"
    assert found["cost"]["average_price"] is None
    assert found["cost"]["slippage_bps"] is None


async def test_a_denial_by_hand_finds_its_judgement_by_the_request(world: World) -> None:
    placed = await world.client.post(
        "/api/v1/orders",
        json={"symbol": "AAPL", "side": "sell", "quantity": "10"},
        headers={"Idempotency-Key": "by-hand"},
    )
    order_id = uuid.UUID(placed.json()["id"])
    assert placed.json()["status"] == "denied"  # nobody judges here
    found = await dossier(world, order_id)
    assert (found["judgement"], found["cost"]["arrival_price"]) == (None, None)
    record_judgement(world, approval(spec("sell", "10"), order_id=order_id))
    found = await dossier(world, order_id)
    assert found["judgement"]["request_id"] == str(order_id)
    assert found["cost"]["arrival_price"] == "10"


async def test_the_signal_of_an_order_stands_in_its_dossier(world: World) -> None:
    signal_id = uuid.uuid4()
    given = approval(spec("buy", "10"), generation=1, reference_price="100", strategy_id="mine")
    order = ApprovedOrder(
        order_id=given.order_id,
        account_id=given.account_id,
        spec=given.spec,
        assessment=given.assessment,
        generation=1,
        expires_at=given.expires_at,
        strategy_id="mine",
        signal_id=signal_id,
    )
    # 2.5 ms before it was judged.
    record_signal(world, signal_id, order.assessment.ts - dt.timedelta(microseconds=2500))
    record_judgement(world, order, signal_id=signal_id)
    for seconds, bid in ((-1, "99.97"), (10, "99.98"), (59, "99.99"), (60, "100.01")):
        record_tick(world, BAR + dt.timedelta(seconds=seconds), bid)
    await world.send(order)
    await world.until(order.order_id, "filled")
    found = await dossier(world, order.order_id)
    assert (found["signal"]["id"], found["signal"]["strategy_id"]) == (str(signal_id), "mine")
    # The last tick within the bar, not the first of the next.
    assert (found["tick"]["symbol"], found["tick"]["bid"]) == ("AAPL", "99.99")
    assert found["latency"][0] == {"start": "signal", "end": "judged", "ms": 2.5}
    assert found["cost"]["slippage_bps"] == "2"


async def test_an_unknown_order_has_no_dossier(world: World) -> None:
    nobody = uuid.uuid4()
    response = await world.client.get(f"/api/v1/orders/{nobody}/dossier")
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("application/problem+json")
    assert str(nobody) in response.json()["detail"]
    assert (await world.client.get("/api/v1/orders/nonsense/dossier")).status_code == 422
