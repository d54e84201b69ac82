"""The `tradewind` command against a small local stand-in of the gateway."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from cli.errors import problem_text
from tests.support.gateway_stand_in import StandIn, tradewind

ORDER = {
    "id": "0190-1",
    "symbol": "AAPL",
    "side": "buy",
    "order_type": "limit",
    "limit_price": "10.50000000",
    "quantity": "7.00000000",
    "filled_quantity": "0.00000000",
    "status": "accepted",
    "created_at": "2026-01-02T15:04:05Z",
}


def test_orders_are_listed(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", {"items": [ORDER], "next": None})
    result = tradewind("orders", "--status", "accepted", "--strategy", "mine", "--limit", "5")
    assert result.exit_code == 0
    for part in ("0190-1", "AAPL", "limit 10.5", " 7 ", "accepted", "15:04:05"):
        assert part in result.output
    assert gateway.asked[0]["query"] == "status=accepted&strategy_id=mine&limit=5"


def test_orders_as_json_are_the_answer_itself(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", {"items": [ORDER], "next": None})
    assert json.loads(tradewind("orders", "--json").output)["items"] == [ORDER]


def test_no_orders_are_said(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", {"items": [], "next": None})
    assert tradewind("orders").output == "no orders\n"


def test_positions_are_listed(gateway: StandIn) -> None:
    row = {"symbol": "MSFT", "quantity": "-3", "market_value": "-1234.5", "stale": True}
    gateway.says("/api/v1/portfolio/positions", {"items": [row]})
    output = tradewind("positions").output
    assert "MSFT" in output
    assert "-1,234.50" in output
    assert "stale price" in output


def test_what_a_strategy_made_is_listed_with_its_sum(gateway: StandIn) -> None:
    path = "/api/v1/portfolio/strategies"
    one = {"symbol": "KO", "quantity": "7", "mark": "40.5", "market_value": "283.5", "pnl": "12.25"}
    flat = {"symbol": "XOM", "quantity": "0", "mark": None, "market_value": "0", "pnl": "-2.75"}
    gateway.says(path, {"items": [one, flat]})
    output = tradewind("positions", "--strategy", "mine").output
    assert output.splitlines()[-1].split() == ["in", "all", "283.50", "9.50"]
    assert gateway.asked[0]["query"] == "strategy_id=mine"
    gateway.says(path, {"items": [{**one, "market_value": None, "pnl": None}, flat]})
    output = tradewind("positions", "--strategy", "mine").output
    assert output.splitlines()[-1].split() == ["in", "all", "–", "–"]
    gateway.says(path, {"items": []})
    assert tradewind("positions", "--strategy", "mine").output == "mine has not traded\n"


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("aapl", "7"), {"order_type": "market", "quantity": "7"}),
        (("AAPL", "7", "--limit", "10.5"), {"order_type": "limit", "limit_price": "10.5"}),
        (("AAPL", "7", "--stop", "9"), {"order_type": "stop", "stop_price": "9"}),
        (("AAPL", "7", "--stop", "9", "--limit", "8"), {"order_type": "stop_limit"}),
        (("AAPL", "--notional", "100"), {"order_type": "market", "notional": "100"}),
        (("AAPL", "7", "--tif", "gtc"), {"time_in_force": "gtc"}),
        (("AAPL", "7", "--extended-hours"), {"extended_hours": True}),
    ],
)
def test_order_is_sent_as_asked(
    gateway: StandIn, arguments: tuple[str, ...], sent: dict[str, Any]
) -> None:
    gateway.says("/api/v1/orders", ORDER, 201)
    result = tradewind("order", "buy", *arguments)
    assert result.exit_code == 0, result.output
    body = gateway.asked[0]["body"]
    assert body["symbol"] == "AAPL"
    assert body["side"] == "buy"
    assert sent.items() <= body.items()
    assert None not in body.values()
    assert gateway.asked[0]["key"]


def test_order_key_is_passed(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", ORDER, 201)
    tradewind("order", "sell", "AAPL", "7", "--key", "mine")
    assert gateway.asked[0]["key"] == "mine"


@pytest.mark.parametrize("arguments", [("AAPL",), ("AAPL", "7", "--notional", "100")])
def test_order_needs_quantity_or_notional(gateway: StandIn, arguments: tuple[str, ...]) -> None:
    result = tradewind("order", "buy", *arguments)
    assert result.exit_code == 2
    assert gateway.asked == []


def test_denied_order_fails_and_says_why(gateway: StandIn) -> None:
    denied = {**ORDER, "status": "denied", "reject_reason": "NOTIONAL_ABOVE_LIMIT"}
    gateway.says("/api/v1/orders", denied, 201)
    result = tradewind("order", "buy", "AAPL", "7")
    assert result.exit_code == 1
    assert "NOTIONAL_ABOVE_LIMIT" in result.output


def test_refused_order_lists_the_fields(gateway: StandIn) -> None:
    problem = {
        "detail": "body.quantity: must be positive",
        "errors": [{"field": "body.quantity", "message": "must be positive"}],
        "correlation_id": "c-9",
    }
    gateway.says("/api/v1/orders", problem, 422)
    result = tradewind("order", "buy", "AAPL", "0")
    assert result.exit_code == 1
    assert "body.quantity: must be positive" in result.stderr
    assert "c-9" in result.stderr


@pytest.mark.parametrize("verb", ["halt", "resume"])
def test_switch_sends_its_reason(gateway: StandIn, verb: str) -> None:
    gateway.says(f"/api/v1/risk/{verb}", {"state": "halted"})
    result = tradewind(verb, "a test")
    assert result.exit_code == 0
    assert "halted" in result.output
    assert gateway.asked[0]["body"] == {"reason": "a test"}


def test_halt_needs_a_reason(gateway: StandIn) -> None:
    assert tradewind("halt").exit_code == 2
    assert gateway.asked == []


def test_trace_shows_the_steps(gateway: StandIn) -> None:
    step = {"kind": "signal", "key": "k", "title": "AAPL to 0.5", "service": "strategy_engine"}
    story = {
        "id": "c-1",
        "steps": [{"step": step, "since_previous_ms": 1.25, "since_start_ms": 3.5}],
        "duration_ms": 12.0,
    }
    gateway.says("/api/v1/audit/trace/c-1", story)
    output = tradewind("trace", "c-1").output
    for part in ("AAPL to 0.5", "strategy_engine", "3.5 ms", "in all 12.0 ms"):
        assert part in output


@pytest.mark.parametrize("text", ["../orders", "a b", "x" * 200, "?"])
def test_trace_refuses_what_is_no_id(gateway: StandIn, text: str) -> None:
    result = tradewind("trace", text)
    assert result.exit_code == 2
    assert gateway.asked == []


def status_of(gateway: StandIn, state: str) -> Any:
    services = [{"service": "audit", "state": state, "reasons": ["late"]}]
    gateway.says("/api/v1/monitoring/health", {"state": state, "services": services})
    gateway.says("/api/v1/portfolio/account", {"equity": "1000.00", "cash": "900.00"})
    gateway.says("/api/v1/risk/state", {"state": "active"})
    return tradewind("status")


def test_status_of_a_healthy_system(gateway: StandIn) -> None:
    result = status_of(gateway, "ok")
    assert result.exit_code == 0
    assert "equity 1,000.00" in result.output


def test_status_fails_when_a_service_is_down(gateway: StandIn) -> None:
    result = status_of(gateway, "down")
    assert result.exit_code == 1
    assert "late" in result.output


def test_nothing_running_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TRADEWIND_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        result = tradewind("orders")
    assert result.exit_code == 3
    assert "nothing answers at" in result.stderr
    assert "make run" in result.stderr


def test_answer_that_is_no_json_is_not_taken_for_ours(gateway: StandIn) -> None:
    gateway.says("/api/v1/orders", b"<html>hello</html>")
    result = tradewind("orders")
    assert result.exit_code == 1
    assert "no JSON" in result.stderr


def test_down_without_a_system_is_no_error(gateway: StandIn) -> None:
    result = tradewind("down")
    assert (result.exit_code, result.output) == (0, "nothing runs\n")


def test_logs_show_the_end(gateway: StandIn, tmp_path: Path) -> None:
    (tmp_path / "var" / "logs").mkdir(parents=True)
    (tmp_path / "var" / "logs" / "audit.log").write_text("one\ntwo\nthree\n")
    assert tradewind("logs", "audit", "-n", "2").output == "two\nthree\n"


def test_unknown_log_lists_the_known_ones(gateway: StandIn, tmp_path: Path) -> None:
    (tmp_path / "var" / "logs").mkdir(parents=True)
    (tmp_path / "var" / "logs" / "audit.log").touch()
    result = tradewind("logs", "../../etc/passwd")
    assert result.exit_code == 1
    assert "there are audit" in result.stderr


def test_doctor_says_that_nothing_runs_and_how_to_start(gateway: StandIn) -> None:
    result = tradewind("doctor")
    assert "system: not running" in result.output
    assert "make run" in result.output


def test_doctor_as_json_has_every_finding(gateway: StandIn) -> None:
    findings = json.loads(tradewind("doctor", "--json").output)
    subjects = {finding["subject"] for finding in findings}
    assert {"python", "disk", "postgresql", "redis", "gateway", "system"} <= subjects


def test_doctor_finds_a_home_that_is_a_file(gateway: StandIn, tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    result = tradewind("doctor")
    assert result.exit_code == 1
    assert "wrong" in result.output


def test_no_arguments_show_the_help() -> None:
    assert "Usage" in tradewind().output


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"detail": "no"}, "no"),
        ({}, "refused with status 409"),
        (["x"], "refused with status 409"),
        ({"errors": "x", "detail": "no"}, "no"),
    ],
)
def test_problem_text_never_fails(body: Any, text: str) -> None:
    assert problem_text(409, body) == text
