"""`tradewind ledger statement` and `balances` against a small local stand-in of the gateway."""

from __future__ import annotations

from typing import Any

from tests.support.gateway_stand_in import StandIn, tradewind

LINE: dict[str, Any] = {
    "ts": "2026-01-02T15:04:05Z", "ledger": "USD", "code": "dividend", "kind": "direct",
    "amount": "3.2500", "change": "3.2500", "account": "main/cash",
    "counterparty": "corporate_actions/corporate_actions",
}  # fmt: skip
BALANCE = {
    "ledger": "USD", "owner": "main", "code": "cash", "posted": "100.0000",
    "pending_debits": "10.0000", "available": "90.0000",
}  # fmt: skip


def test_a_statement_shows_its_lines(gateway: StandIn) -> None:
    gateway.says("/api/v1/portfolio/ledger", {"items": [LINE], "next": None})
    output = tradewind("ledger", "statement", "--ledger", "USD").output
    for part in ("dividend", "3.2500", "main/cash"):
        assert part in output


def test_balances_that_sum_to_zero_are_fine(gateway: StandIn) -> None:
    answer = {"items": [BALANCE], "sums": {"USD": "0.0000"}, "next": None}
    gateway.says("/api/v1/portfolio/ledger/balances", answer)
    result = tradewind("ledger", "balances")
    assert (result.exit_code, "90.0000" in result.output) == (0, True)


def test_a_ledger_that_does_not_sum_to_zero_is_an_error(gateway: StandIn) -> None:
    answer = {"items": [BALANCE], "sums": {"USD": "0.0100"}, "next": None}
    gateway.says("/api/v1/portfolio/ledger/balances", answer)
    result = tradewind("ledger", "balances")
    assert (result.exit_code, "0.0100" in result.output) == (1, True)
