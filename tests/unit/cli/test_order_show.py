"""`tradewind order show` against a small local stand-in of the gateway."""

from __future__ import annotations

import json
from typing import Any

from tests.support.gateway_stand_in import StandIn, tradewind

ID = "0190aaaa-0000-7000-8000-000000000001"
PATH = f"/api/v1/orders/{ID}/dossier"
DOSSIER: dict[str, Any] = {
    "order": {
        "id": ID,
        "symbol": "KO",
        "side": "buy",
        "order_type": "limit",
        "limit_price": "100.02",
        "quantity": "10",
        "filled_quantity": "4",
        "status": "partially_filled",
        "created_at": "2026-01-02T15:04:05Z",
    },
    "tick": {"ts": "2019-03-04T14:59:59Z", "bid": "99.47", "ask": "99.53"},
    "bar": {"close": "99.5"},
    "signal": {
        "created_at": "2026-01-02T15:04:04Z",
        "strategy_id": "mine",
        "symbol": "KO",
        "target": 0.25,
        "reference_price": "100",
        "bar_ts": "2019-03-04T14:59:00Z",
    },
    "judgement": {
        "verdict": "approved",
        "code": None,
        "quantity": "10",
        "ts": "2026-01-02T15:04:04Z",
        "checks": [
            {"code": "NOTIONAL_MAX", "passed": True, "value": "1000.2", "limit": "5000"},
            {"code": "SECTOR_MAX", "passed": None, "value": "", "limit": "", "note": "no sector"},
        ],
    },
    "events": [
        {"ts": "2026-01-02T15:04:05Z", "event": "send", "to_status": "pending_new"},
        {"ts": "2026-01-02T15:04:06Z", "event": "partly_filled", "to_status": "partially_filled"},
    ],
    "wire": [
        {
            "ts": "2026-01-02T15:04:05Z",
            "method": "POST",
            "path": "/v2/orders",
            "status": None,
            "sent": '{"qty": 10}',
            "received": None,
            "error": "ReadTimeout()",
            "took_us": 5_000_000,
        },
        {
            "ts": "2026-01-02T15:04:06Z",
            "method": None,
            "path": None,
            "received": '{"data": {"event": "fill", "qty": "4", "order": {"status": "new"}}}',
            "took_us": None,
        },
    ],
    "executions": [
        {
            "booked_at": "2026-01-02T15:04:06Z",
            "execution_id": "x-77",
            "quantity": "4",
            "executed_price": "100.02",
            "commission": "0",
            "fees": "0.01",
        }
    ],
    "ledger": [
        {
            "ts": "2026-01-02T15:04:05Z",
            "kind": "pending",
            "code": "hold",
            "amount": "1000.2",
            "ledger": "USD",
            "debit_owner": "main",
            "debit_code": "cash",
            "credit_owner": "venue",
            "credit_code": "clearing",
        }
    ],
    "latency": [
        {"start": "signal", "end": "judged", "ms": 2.5},
        {"start": "sent", "end": "acknowledged", "ms": None},
    ],
    "cost": {
        "arrival_price": "100",
        "average_price": "100.02",
        "quantity": "4",
        "slippage_bps": "2",
        "slippage": "0.08",
        "fees": "0.01",
        "total": "0.09",
    },
}  # fmt: skip


def line_with(output: str, word: str) -> list[str]:
    return next(line for line in output.splitlines() if word in line).split()


def test_the_whole_story_is_shown(gateway: StandIn) -> None:
    gateway.says(PATH, DOSSIER)
    result = tradewind("order", "show", ID)
    assert result.exit_code == 0, result.output
    output = result.output
    assert ID in output
    assert line_with(output, "NOTIONAL_MAX") == ["NOTIONAL_MAX", "passed", "1000.2", "5000"]
    assert "not asked" in output
    assert "99.47" in output
    assert "POST /v2/orders" in output
    assert "ReadTimeout()" in output
    assert "5,000.0 ms" in output
    assert "event=fill qty=4 status=new" in output
    assert "x-77" in output
    assert line_with(output, "main/cash")[-2:] == ["main/cash", "venue/clearing"]
    assert line_with(output, "judged ") == ["signal", "judged", "2.5", "ms"]
    assert line_with(output, "acknowledged") == ["sent", "acknowledged", "–"]
    assert output.split()[-7:] == ["100", "100.02", "4", "2", "0.08", "0.01", "0.09"]


def test_an_order_by_hand_that_was_never_judged_is_shown_too(gateway: StandIn) -> None:
    bare: dict[str, Any] = {
        "tick": None,
        "wire": [],
        "bar": None,
        "signal": None,
        "judgement": None,
        "executions": [],
        "ledger": [],
    }
    unknown = dict.fromkeys(DOSSIER["cost"])
    gateway.says(PATH, {**DOSSIER, **bare, "cost": unknown})
    result = tradewind("order", "show", ID)
    assert result.exit_code == 0, result.output
    for title in ("Signal", "Judgement", "Executions", "Ledger", "Wire"):
        assert title not in result.output
    assert result.output.split()[-7:] == ["–"] * 7


def test_the_dossier_as_json_is_the_answer_itself(gateway: StandIn) -> None:
    gateway.says(PATH, DOSSIER)
    assert json.loads(tradewind("order", "show", ID, "--json").output) == DOSSIER


def test_an_unknown_order_is_an_error(gateway: StandIn) -> None:
    gateway.says(PATH, {"detail": f"there is no order {ID}"}, 404)
    result = tradewind("order", "show", ID)
    assert result.exit_code == 1
    assert "there is no order" in result.stderr


def test_what_cannot_be_an_id_is_not_asked(gateway: StandIn) -> None:
    assert tradewind("order", "show", "../secrets").exit_code != 0
    assert gateway.asked == []
