"""`tradewind ledger statement`, `balances`, `tie-out` against a stand-in of the gateway."""

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


TIE_OUTS = "/api/v1/orders/tieouts"
ATTEMPT: dict[str, Any] = {
    "day": "2026-01-02", "seq": 1, "result": "agrees", "cause": "close", "differences": [],
    "ours": {"cash": "100.5"}, "theirs": {"cash": "100.5"},
}  # fmt: skip
DIFFERS = {
    **ATTEMPT, "seq": 2, "result": "differs", "theirs": {"cash": "100.51"},
    "differences": [{"what": "cash", "of": "", "ours": "100.5", "theirs": "100.51"}],
}  # fmt: skip


def test_tie_outs_are_listed_and_the_newest_decides(gateway: StandIn) -> None:
    gateway.says(TIE_OUTS, {"items": [ATTEMPT, DIFFERS], "next": None})
    result = tradewind("ledger", "tie-out", "--day", "2026-01-02")
    assert (result.exit_code, "agrees" in result.output) == (0, True)
    gateway.says(TIE_OUTS, {"items": [DIFFERS, ATTEMPT], "next": None})
    result = tradewind("ledger", "tie-out")
    assert (result.exit_code, "cash: ours 100.5, theirs 100.51" in result.output) == (1, True)
    gateway.says(TIE_OUTS, {"items": [], "next": None})
    assert tradewind("ledger", "tie-out").exit_code == 0


def test_a_day_is_tied_out_now(gateway: StandIn) -> None:
    gateway.says(TIE_OUTS, DIFFERS)
    result = tradewind("ledger", "tie-out", "--run", "--day", "2026-01-02")
    assert result.exit_code == 1
    assert gateway.asked[-1]["method"] == "POST"
    assert gateway.asked[-1]["body"] == {"day": "2026-01-02"}


STATEMENT = "/api/v1/portfolio/ledger/statement"


def test_an_accounts_statement_shows_its_balances(gateway: StandIn) -> None:
    line = {**LINE, "balance": "103.2500"}
    gateway.says(
        STATEMENT, {"opening": "100.0000", "items": [line], "closing": "103.2500", "next": 7}
    )
    output = tradewind("ledger", "statement", "--account", "main/cash").output
    for part in ("opening balance 100.0000", "closing balance 103.2500", "more lines follow"):
        assert part in output
    assert gateway.asked[-1]["query"] == "owner=main&code=cash&limit=50"


def test_a_statement_as_csv_is_printed_as_it_came(gateway: StandIn) -> None:
    gateway.says(STATEMENT, b"seq,balance\r\n1,5\r\n")
    result = tradewind("ledger", "statement", "--csv", "--ledger", "KO")
    assert result.stdout_bytes == b"seq,balance\r\n1,5\r\n"
    assert gateway.asked[-1]["query"] == "ledger=KO&format=csv"
    gateway.says(STATEMENT, {"detail": "the ledger has no account"}, status=404)
    refused = tradewind("ledger", "statement", "--csv")
    assert refused.exit_code != 0
    assert "no account" in refused.output


def test_a_statement_of_an_order_is_no_statement_of_an_account(gateway: StandIn) -> None:
    assert tradewind("ledger", "statement", "--csv", "--order", "x").exit_code != 0
    assert gateway.asked == []
