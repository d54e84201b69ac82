"""`tradewind strategies` and `tradewind strategy …` against a stand-in of the gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.gateway_stand_in import StandIn, tradewind

PATH = "/api/v1/strategies"
ROW: dict[str, Any] = {
    "id": "mine",
    "class_name": "donchian",
    "params": {"window": 15},
    "universe": ["AAPL", "KO", "XOM"],
    "timeframe": "1m",
    "mode": "shadow",
    "status": "running",
    "reason": "",
    "uncollected": [],
    "symbols": [
        {"symbol": "AAPL", "reason": "", "decision": {"target": 1.0}},
        {"symbol": "KO", "reason": "", "decision": {"target": 0.0}},
        {"symbol": "XOM", "reason": "bar 7: it broke", "decision": {"target": None}},
    ],
}


def test_strategies_are_listed_with_what_ails_them(gateway: StandIn) -> None:
    gateway.says(PATH, {"items": [{**ROW, "uncollected": ["KO"]}], "next": None})
    output = tradewind("strategies").output
    for part in ("donchian(window=15)", "shadow", "running", "AAPL KO XOM"):
        assert part in output
    assert "mine stopped on XOM: bar 7: it broke" in output
    assert "mine: no market data is collected for KO" in output


def test_no_strategies_are_said(gateway: StandIn) -> None:
    gateway.says(PATH, {"items": [], "next": None})
    assert tradewind("strategies").output == "no strategies\n"
    assert json.loads(tradewind("strategies", "--json").output)["items"] == []


def test_strategy_is_added_in_shadow_unless_asked_otherwise(gateway: StandIn) -> None:
    gateway.says(PATH, ROW, 201)
    arguments = ("strategy", "add", "mine", "--class", "donchian", "--symbols", "aapl, KO")
    result = tradewind(*arguments, "--set", "window=15", "--set", "share=0.5")
    assert result.exit_code == 0, result.output
    assert gateway.asked[0]["body"] == {
        "id": "mine",
        "class_name": "donchian",
        "universe": ["AAPL", "KO"],
        "params": {"window": 15, "share": 0.5},
        "mode": "shadow",
        "timeframe": "1m",
    }
    tradewind(*arguments, "--mode", "live", "--timeframe", "5m", "--weight", "0.5")
    sent = gateway.asked[1]["body"]
    assert (sent["mode"], sent["timeframe"], sent["weight"]) == ("live", "5m", "0.5")


@pytest.mark.parametrize(
    ("arguments", "method", "body"),
    [
        (("mode", "mine", "live"), "PATCH", {"mode": "live"}),
        (("enable", "mine"), "PATCH", {"enabled": True}),
        (("change", "mine", "--set", "window=9"), "PATCH", {"params": {"window": 9}}),
        (("change", "mine", "--symbols", "ko"), "PATCH", {"universe": ["KO"]}),
        (("change", "mine", "--weight", "2"), "PATCH", {"weight": "2"}),
        (("remove", "mine"), "DELETE", None),
    ],
)
def test_command_sends_its_request(
    gateway: StandIn, arguments: tuple[str, ...], method: str, body: Any
) -> None:
    gateway.says(f"{PATH}/mine", ROW)
    result = tradewind("strategy", *arguments)
    assert result.exit_code == 0, result.output
    assert (gateway.asked[0]["method"], gateway.asked[0]["body"]) == (method, body)


@pytest.mark.parametrize("setting", ["window", "=3", "window=", "window=a", "w=nan", "w=inf"])
def test_setting_that_is_no_number_is_refused(gateway: StandIn, setting: str) -> None:
    result = tradewind(
        "strategy", "add", "mine", "--class", "x", "--symbols", "KO", "--set", setting
    )
    assert result.exit_code == 2
    assert gateway.asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("mode", "mine", "paper"),
        ("mode", "mine"),
        ("remove", "../orders"),
        ("change", "mine", "--symbols", " , "),
        ("add", "mine", "--class", "donchian", "--symbols", ""),
    ],
)
def test_wrong_usage_asks_nothing(gateway: StandIn, arguments: tuple[str, ...]) -> None:
    assert tradewind("strategy", *arguments).exit_code == 2
    assert gateway.asked == []


def test_refusal_is_printed(gateway: StandIn) -> None:
    gateway.says(PATH, {"detail": "universe: TSLA is not collected."}, 422)
    result = tradewind("strategy", "add", "mine", "--class", "donchian", "--symbols", "TSLA")
    assert result.exit_code == 1
    assert "TSLA is not collected" in result.stderr


def test_reload_lists_classes_and_fails_on_a_refused_file(gateway: StandIn) -> None:
    schema = [{"name": "window", "default": 20, "low": 2, "high": 100}]
    item = {"name": "donchian", "file": "donchian.py", "schema": schema, "summary": "Breakouts."}
    gateway.says(f"{PATH}/reload", {"items": [item], "refused": []})
    result = tradewind("strategy", "reload")
    assert result.exit_code == 0
    assert "window=20 (2…100)" in result.output
    refused = [{"file": "broken.py", "line": 3, "reason": "syntax: invalid syntax"}]
    gateway.says(f"{PATH}/reload", {"items": [item], "refused": refused})
    result = tradewind("strategy", "reload")
    assert result.exit_code == 1
    assert "broken.py:3: syntax" in result.stderr
    twice = {"file": "copy.py", "line": 0, "reason": "donchian is defined in donchian.py too"}
    gateway.says(f"{PATH}/reload", {"items": [], "refused": [twice]})
    assert "copy.py: donchian is defined" in tradewind("strategy", "reload").stderr


def test_signals_are_listed(gateway: StandIn) -> None:
    signal = {
        "signal_id": "s-1",
        "ts_event": "2019-03-04T15:54:00Z",
        "strategy_id": "mine",
        "symbol": "KO",
        "target": 1.0,
        "reference_price": "40.25000000",
        "mode": "shadow",
    }
    gateway.says(f"{PATH}/signals", {"items": [signal], "next": None})
    output = tradewind("signals", "--strategy", "mine", "--limit", "3").output
    for part in ("s-1", "2019-03-04 15:54:00", "+1.00", "40.25", "shadow"):
        assert part in output
    assert gateway.asked[0]["query"] == "strategy_id=mine&limit=3"
    gateway.says(f"{PATH}/signals", {"items": [], "next": None})
    assert tradewind("signals").output == "no signals\n"


SWAP: dict[str, Any] = {
    "status": "exchanged",
    "carried": [],
    "shadow_bars": 0,
    "shadowed": 0,
    "proof": [{"symbol": "AAPL", "bars": 200, "signals_old": 4, "signals_new": 6, "differing": 31}],
}


def test_swap_says_what_is_different_and_how_to_go_back(gateway: StandIn) -> None:
    gateway.says(f"{PATH}/mine/swap", {**ROW, "swap": SWAP})
    result = tradewind("strategy", "swap", "mine", "--class", "sma_cross", "--set", "fast=5")
    assert result.exit_code == 0, result.output
    sent = gateway.asked[0]["body"]
    assert (sent["class_name"], sent["params"], "rollback" in sent) == (
        "sma_cross",
        {"fast": 5},
        False,
    )
    assert "200 stored bars, 4 signals before, 6 now, another position on 31 bars" in result.output
    assert "tradewind strategy swap mine --rollback" in result.output
    result = tradewind("strategy", "swap", "mine", "--rollback")
    assert gateway.asked[1]["body"]["rollback"] is True


def test_swap_in_shadow_says_how_far_it_is(gateway: StandIn) -> None:
    shadowing = {**SWAP, "status": "shadowing", "shadow_bars": 10, "shadowed": 3}
    gateway.says(f"{PATH}/mine/swap", {**ROW, "swap": shadowing}, 202)
    result = tradewind("strategy", "swap", "mine", "--shadow-bars", "10")
    assert "mine: shadowing, 3 of 10 live bars" in result.output
    gateway.says(f"{PATH}/mine/swap", {**SWAP, "status": "cancelled"})
    assert "mine: cancelled" in tradewind("strategy", "swap", "mine", "--cancel").output
    assert gateway.asked[-1]["method"] == "DELETE"


def test_performance_is_listed_and_own_limits_are_set(gateway: StandIn) -> None:
    row = {
        "strategy_id": "mine", "mode": "live", "signals": 12, "executions": 8, "trips": 4,
        "hit_rate": 0.75, "pnl": "120.5000", "day_pnl": "-3.2500", "drawdown": "40.0000",
        "costs": "8.0000", "slippage_bps": 1.26,
    }  # fmt: skip
    gateway.says(f"{PATH}/performance", {"items": [row], "next": None})
    output = tradewind("strategy", "performance").output
    for part in ("mine", "12", "75%", "120.50", "-3.25", "40.00", "+1.3 bps"):
        assert part in output
    gateway.says(f"{PATH}/mine", ROW)
    tradewind(
        "strategy", "change", "mine", "--limit", "drawdown_max=500", "--limit", "faults_max=0"
    )
    assert gateway.asked[-1]["body"] == {"limits": {"drawdown_max": 500, "faults_max": 0}}
    tradewind("strategy", "change", "mine", "--limit", "none")
    assert gateway.asked[-1]["body"] == {"limits": {}}
