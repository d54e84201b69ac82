"""`tradewind protection …` against a small local stand-in of the gateway."""

from __future__ import annotations

from typing import Any

from tests.support.gateway_stand_in import StandIn, tradewind

PATH = "/api/v1/orders/protection"
ID = "0190aaaa-0000-7000-8000-000000000007"
ROW: dict[str, Any] = {
    "id": ID,
    "symbol": "KO",
    "side": "sell",
    "quantity": None,
    "stop_price": "90",
    "take_profit_price": None,
    "entry_id": None,
    "actor": "ada",
    "needed": "10",
    "active": "10",
    "missing": "0",
}


def test_what_is_guarded_is_shown(gateway: StandIn) -> None:
    gateway.says(PATH, {"items": [ROW], "next": None})
    result = tradewind("protection", "show")
    assert result.exit_code == 0
    for part in (ID, "KO", "sell", "90", "10", "ada"):
        assert part in result.output


def test_naked_shares_are_an_exit_code(gateway: StandIn) -> None:
    gateway.says(PATH, {"items": [{**ROW, "active": "4", "missing": "6"}], "next": None})
    assert tradewind("protection", "show").exit_code == 1


def test_a_position_is_guarded_and_let_go(gateway: StandIn) -> None:
    gateway.says(PATH, ROW)
    gateway.says(f"{PATH}/{ID}", ROW)
    assert ID in tradewind("protection", "set", "ko", "--stop", "90").output
    assert gateway.asked[-1]["body"] == {"symbol": "KO", "stop_price": "90"}
    assert gateway.asked[-1]["key"]
    assert "no longer" in tradewind("protection", "end", ID).output
    assert gateway.asked[-1]["method"] == "DELETE"
