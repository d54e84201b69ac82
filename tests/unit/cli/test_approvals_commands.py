"""`tradewind approvals …` against a gateway that answers what it is told."""

from __future__ import annotations

from typing import Any

from tests.support.gateway_stand_in import StandIn, tradewind

RISK, STRATEGIES = "/api/v1/risk/proposals", "/api/v1/strategies/proposals"
FIRST, SECOND = "01a1-risk", "01a2-strategy"


def proposal(identity: str, **more: Any) -> dict[str, Any]:
    return {
        "id": identity, "summary": f"wish {identity}", "reason": "why not", "state": "waiting",
        "proposed_by": "user:ada", "expires_at": "2026-11-20T12:15:00Z", "outcome": None, **more,
    }  # fmt: skip


def filled(gateway: StandIn) -> None:
    over = proposal("01a0-over", state="approved", outcome="done")
    gateway.says(RISK, {"items": [proposal(FIRST), over], "next": None})
    gateway.says(STRATEGIES, {"items": [proposal(SECOND)], "next": None})


def test_what_waits_is_listed_from_both_services(gateway: StandIn) -> None:
    filled(gateway)
    output = tradewind("approvals", "list").output
    assert f"wish {FIRST}" in output
    assert f"wish {SECOND}" in output
    assert "over" not in output
    assert "12:15" in output
    assert "over" in tradewind("approvals", "list", "--all").output


def test_a_proposal_is_decided_at_the_service_that_holds_it(gateway: StandIn) -> None:
    filled(gateway)
    gateway.says(f"{STRATEGIES}/{SECOND}/approve", proposal(SECOND, outcome="done"))
    gateway.says(f"{RISK}/{FIRST}/reject", proposal(FIRST, state="rejected"))
    assert "done" in tradewind("approvals", "approve", "01a2").output
    assert gateway.asked[-1]["method"] == "POST"
    assert "rejected" in tradewind("approvals", "reject", FIRST).output


def test_an_unclear_or_unknown_id_is_refused(gateway: StandIn) -> None:
    filled(gateway)
    many, none = tradewind("approvals", "approve", "01a"), tradewind("approvals", "approve", "ff")
    assert "3 proposals begin with 01a" in many.output
    assert "there is no proposal ff" in none.output
    assert many.exit_code != 0 != none.exit_code


def test_a_resume_that_waits_says_for_what(gateway: StandIn) -> None:
    gateway.says("/api/v1/risk/resume", proposal(FIRST))
    assert f"tradewind approvals approve {FIRST}" in tradewind("resume", "all is well").output
