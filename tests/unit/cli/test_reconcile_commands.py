"""`tradewind reconcile …` against a small local stand-in of the gateway."""

from __future__ import annotations

import json
from typing import Any

from tests.support.gateway_stand_in import StandIn, tradewind

PATH = "/api/v1/orders/reconciliation"
ID = "0190aaaa-0000-7000-8000-000000000009"
COUNTS = {
    "executions_booked": 2,
    "orders_adopted": 1,
    "orders_moved": 0,
    "orders_restated": 0,
    "cash_activities": 0,
}
STATE: dict[str, Any] = {
    "runs": [
        {
            "finished_at": "2026-01-02T15:04:05Z",
            "cause": "close",
            "findings": {**COUNTS, "doubts": False},
        }
    ],
    "discrepancies": [
        {
            "id": ID,
            "opened_at": "2026-01-02T15:04:05Z",
            "symbol": "",
            "kind": "cash",
            "ours": "5",
            "theirs": "7",
            "acknowledged_by": "ada",
            "detail": "",
        }
    ],
}  # fmt: skip


def test_runs_and_discrepancies_are_shown(gateway: StandIn) -> None:
    gateway.says(PATH, STATE)
    output = tradewind("reconcile", "show").output
    for part in ("close", ID, "account", "cash", "5", "7", "ada"):
        assert part in output
    assert json.loads(tradewind("reconcile", "show", "--json").output) == STATE


def test_comparing_now_says_what_was_done(gateway: StandIn) -> None:
    details = ["execution e of KO was missed"]
    gateway.says(PATH, {**STATE, "discrepancies": [], **COUNTS, "doubts": True, "details": details})
    output = tradewind("reconcile", "now").output
    assert "2 executions booked, 1 orders adopted" in output
    assert "looked at again" in output
    assert details[0] in output
    assert "no discrepancy is open" in output
    assert gateway.asked[-1]["method"] == "POST"


def test_a_discrepancy_is_acknowledged_and_resolved_with_a_reason(gateway: StandIn) -> None:
    row = {"kind": "cash", "symbol": ""}
    for act, said in (("acknowledge", "still blocking"), ("resolve", "resolved")):
        gateway.says(f"{PATH}/discrepancies/{ID}/{act}", row)
        output = tradewind("reconcile", act, ID, "--reason", "why not").output
        assert said in output
        assert gateway.asked[-1]["body"] == {"reason": "why not"}


def test_a_discrepancy_without_a_reason_or_that_is_not_there_is_refused(gateway: StandIn) -> None:
    assert tradewind("reconcile", "resolve", ID).exit_code == 2
    assert gateway.asked == []
    result = tradewind("reconcile", "resolve", ID, "--reason", "why")
    assert result.exit_code != 0
    assert "no such thing" in result.output
