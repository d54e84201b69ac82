"""`tradewind order …`: every kind of order, amendments, cancels, triggers, as they are sent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway_stand_in import StandIn, tradewind

ORDER = {"id": "0190-1", "symbol": "AAPL", "side": "buy", "order_type": "limit", "quantity": "7",
         "limit_price": "10.5", "filled_quantity": "0", "status": "working"}  # fmt: skip
TRIGGER = {"id": "0190-2", "symbol": "AAPL", "status": "waiting", "above": "105", "below": None,
           "order": ORDER, "order_id": None}  # fmt: skip
PATH = "/api/v1/orders"


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (("--trail", "1.5"), {"order_type": "trailing_stop", "trail_price": "1.5"}),
        (("--trail-percent", "2"), {"order_type": "trailing_stop", "trail_percent": "2"}),
        (
            ("--limit", "10", "--take-profit", "12", "--stop-loss", "9", "--stop-loss-limit", "8"),
            {
                "order_class": "bracket",
                "take_profit": {"limit_price": "12"},
                "stop_loss": {"stop_price": "9", "limit_price": "8"},
            },
        ),
        (("--stop-loss", "9"), {"order_class": "oto", "stop_loss": {"stop_price": "9"}}),
        (
            ("--oco", "--take-profit", "12", "--stop-loss", "9"),
            {"order_class": "oco", "order_type": "limit", "limit_price": "12"},
        ),
        (("--tif", "cls"), {"time_in_force": "cls", "order_type": "market"}),
    ],
)
def test_every_kind_is_sent_as_asked(
    gateway: StandIn, options: tuple[str, ...], sent: dict[str, Any]
) -> None:
    gateway.says(PATH, ORDER, 201)
    result = tradewind("order", "sell", "aapl", "7", *options)
    assert result.exit_code == 0, result.output
    body = gateway.asked[0]["body"]
    assert sent.items() <= body.items()
    assert (body["symbol"], body["side"]) == ("AAPL", "sell")


@pytest.mark.parametrize(
    "options", [("--oco", "--take-profit", "12"), ("--stop-loss-limit", "9"), ("--notional", "5")]
)
def test_what_contradicts_itself_is_not_sent(gateway: StandIn, options: tuple[str, ...]) -> None:
    assert tradewind("order", "buy", "AAPL", "7", *options).exit_code == 2
    assert gateway.asked == []


def test_an_order_is_amended(gateway: StandIn) -> None:
    gateway.says(f"{PATH}/0190-1", {**ORDER, "id": "0190-3", "quantity": "9"}, 202)
    result = tradewind("order", "amend", "0190-1", "--quantity", "9", "--limit", "11", "--key", "k")
    assert result.exit_code == 0, result.output
    assert "0190-3" in result.output
    asked = gateway.asked[0]
    assert (asked["method"], asked["key"]) == ("PATCH", "k")
    assert asked["body"] == {"quantity": "9", "limit_price": "11"}
    assert tradewind("order", "amend", "0190-1").exit_code == 2
    gateway.says(f"{PATH}/0190-1", {"detail": "order 0190-1 is filled"}, 409)
    refused = tradewind("order", "amend", "0190-1", "--tif", "gtc")
    assert (refused.exit_code, "is filled" in refused.output) == (1, True)


def test_orders_are_cancelled_one_one_symbol_and_all(gateway: StandIn) -> None:
    gateway.says(f"{PATH}/0190-1", {**ORDER, "status": "pending_cancel"}, 202)
    gateway.says(PATH, {"items": [ORDER], "next": None}, 202)
    assert "pending_cancel" in tradewind("order", "cancel", "0190-1").output
    assert "0190-1" in tradewind("order", "cancel-all", "--symbol", "aapl").output
    assert tradewind("order", "cancel-all").exit_code == 0
    asked = [(one["method"], one["path"], one["query"]) for one in gateway.asked]
    assert asked == [
        ("DELETE", f"{PATH}/0190-1", ""), ("DELETE", PATH, "symbol=AAPL"), ("DELETE", PATH, ""),
    ]  # fmt: skip
    gateway.says(PATH, {"items": [], "next": None}, 202)
    assert tradewind("order", "cancel-all").output == "no open orders\n"
    assert tradewind("order", "cancel", "../../risk").exit_code == 2


def test_triggers_are_added_listed_and_cancelled(gateway: StandIn) -> None:
    gateway.says(f"{PATH}/triggers", TRIGGER, 201)
    result = tradewind(
        "order", "trigger", "add", "buy", "aapl", "7", "--above", "105", "--limit", "106",
        "--valid-until", "2026-03-02T21:00:00Z",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for part in ("0190-2", "above 105", "waiting"):
        assert part in result.output
    body = gateway.asked[0]["body"]
    assert (body["above"], body["valid_until"]) == ("105", "2026-03-02T21:00:00Z")
    assert (body["order"]["order_type"], body["order"]["quantity"]) == ("limit", "7")
    assert tradewind("order", "trigger", "add", "buy", "AAPL", "7").exit_code == 2
    gateway.says(f"{PATH}/triggers", {"items": [TRIGGER], "next": None})
    assert "0190-2" in tradewind("order", "trigger", "list", "--status", "waiting").output
    assert gateway.asked[-1]["query"] == "status=waiting&limit=20"
    gateway.says(f"{PATH}/triggers/0190-2", {**TRIGGER, "status": "canceled"})
    assert "canceled" in tradewind("order", "trigger", "cancel", "0190-2").output
