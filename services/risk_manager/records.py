"""From a judgement to what is stored, published and answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Final
from uuid import UUID

from libs.common.contracts.channels import ORDERS_APPROVED, RISK_ALERTS, RISK_ASSESSMENTS
from libs.common.contracts.messages import (
    ApprovedOrder,
    CheckResult,
    RiskAlert,
    RiskAssessment,
)
from libs.common.contracts.risk_api import CLOSING, AssessmentReply
from libs.common.domain.checks import Check
from libs.common.domain.checks.results import text
from libs.common.domain.vocabulary import Level, OrderClass, OrderType, Verdict
from libs.common.kernel.money import ZERO
from services.risk_manager.desk import Desk
from services.risk_manager.judgement import AMENDMENT, LESSENS, Judgement
from services.risk_manager.pending import Pending
from services.risk_manager.ports import Assessment, Outgoing

_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})

# Denials that a person should hear of; the others are the daily business of a limit.
ALARMING: Final[Mapping[str, Level]] = {
    "INSTRUMENT_UNKNOWN": Level.WARNING,
    "INSTRUMENT_RESTRICTED": Level.WARNING,
    "PRICE_MISSING": Level.WARNING,
    "PRICE_STALE": Level.WARNING,
    "PRICE_OUTSIDE_COLLAR": Level.WARNING,
    "QUANTITY_OUTSIDE_COLLAR": Level.WARNING,
    "ORDER_RATE_STRATEGY": Level.ERROR,
    "ORDER_RATE_ACCOUNT": Level.ERROR,
    "DUPLICATE_ORDER": Level.WARNING,
    "POSITION_UNPRICED": Level.ERROR,
    "DAILY_LOSS_ABOVE_LIMIT": Level.ERROR,
    "DRAWDOWN_ABOVE_LIMIT": Level.ERROR,
    "TARGET_INVALID": Level.ERROR,
    "SIZE_UNDEFINED": Level.ERROR,
    "EQUITY_NOT_POSITIVE": Level.ERROR,
}


def result_of(check: Check) -> CheckResult:
    """A check as it travels."""
    code, passed, value, limit, note = check
    return CheckResult(code=code, passed=passed, value=text(value), limit=text(limit), note=note)


def assessment_of(
    desk: Desk,
    judgement: Judgement,
    *,
    assessment_id: UUID,
    correlation_id: UUID,
    ts: dt.datetime,
    latency_us: int,
    source: str,
    expires_at: dt.datetime,
    signal_id: UUID | None = None,
    request_id: UUID | None = None,
    bar_ts: dt.datetime | None = None,
) -> Assessment:
    """The record of a judgement. Denied keeps nothing but the reasons."""
    refusal, spec = judgement.refusal, judgement.spec
    approved = refusal is None
    return Assessment(
        id=assessment_id,
        account_id=desk.account_id,
        symbol=spec.symbol,
        side=spec.side,
        verdict=Verdict.APPROVED if approved else Verdict.DENIED,
        quantity=judgement.quantity if approved else ZERO,
        checks=tuple([result_of(check) for check in judgement.checks]),
        generation=desk.switch.generation,
        latency_us=latency_us,
        correlation_id=correlation_id,
        ts=ts,
        source=source,
        order_id=judgement.ask.order_id,
        signal_id=signal_id,
        request_id=request_id,
        strategy_id=judgement.ask.strategy_id,
        code=None if refusal is None else refusal.code,
        reference_price=judgement.price,
        order_spec=spec if approved else None,
        hold=judgement.hold if approved else None,
        bar_ts=bar_ts,
        replaces_id=judgement.ask.replaces,
        expires_at=expires_at if approved else None,
    )


def message_of(assessment: Assessment) -> RiskAssessment:
    """The record as it travels."""
    return RiskAssessment(
        assessment_id=assessment.id,
        account_id=assessment.account_id,
        symbol=assessment.symbol,
        side=assessment.side,
        verdict=assessment.verdict,
        quantity=assessment.quantity,
        checks=assessment.checks,
        generation=assessment.generation,
        ts=assessment.ts,
        latency_us=assessment.latency_us,
        reference_price=assessment.reference_price,
        signal_id=assessment.signal_id,
        request_id=assessment.request_id,
        strategy_id=assessment.strategy_id,
        code=assessment.code,
    )


def order_of(assessment: Assessment, message: RiskAssessment) -> ApprovedOrder | None:
    """The order that an approval lets pass; None for a denial."""
    spec, expires_at = assessment.order_spec, assessment.expires_at
    if spec is None or expires_at is None:
        return None
    # An approval sets nothing aside if and only if the order closes what is there.
    closes = assessment.hold == 0
    reducing = closes or any(c.code == AMENDMENT and c.value == LESSENS for c in assessment.checks)
    exit_only = (
        spec.order_class is OrderClass.OCO
        or spec.order_type in _STOPS
        or assessment.source == CLOSING
    )
    return ApprovedOrder(
        order_id=assessment.order_id,
        account_id=assessment.account_id,
        spec=spec,
        assessment=message,
        generation=assessment.generation,
        expires_at=expires_at,
        reducing=reducing,
        protective=closes and exit_only,
        strategy_id=assessment.strategy_id,
        signal_id=assessment.signal_id,
        request_id=assessment.request_id,
    )


def pending_of(assessment: Assessment) -> Pending:
    """What an approval on record sets aside."""
    spec, expires_at = assessment.order_spec, assessment.expires_at
    assert spec is not None
    assert expires_at is not None
    return Pending(
        order_id=assessment.order_id,
        symbol=assessment.symbol,
        side=assessment.side,
        quantity=assessment.quantity,
        hold=assessment.hold or Decimal(0),
        strategy_id=assessment.strategy_id,
        order_type=spec.order_type,
        limit_price=spec.limit_price,
        expires_at=expires_at.timestamp(),
        replaces=assessment.replaces_id,
    )


def outgoing_of(
    assessment: Assessment, *, causation_id: UUID | None, publish_order: bool
) -> list[Outgoing]:
    """The messages that a judgement makes: always its record, and the order of an approved
    signal. A caller over HTTP gets the order in the reply instead."""
    message = message_of(assessment)
    correlation = assessment.correlation_id
    found = [Outgoing(RISK_ASSESSMENTS, message, correlation, causation_id)]
    order = order_of(assessment, message) if publish_order else None
    if order is not None:
        found.append(Outgoing(ORDERS_APPROVED, order, correlation, causation_id))
    return found


def alert_of(assessment: Assessment, refusal_context: Mapping[str, str]) -> Outgoing | None:
    """The alert that a denial makes, if it is one to be told."""
    level = ALARMING.get(assessment.code or "")
    if level is None:
        return None
    alert = RiskAlert(
        account_id=assessment.account_id,
        code=assessment.code or "",
        level=level,
        message=f"{assessment.side} {assessment.symbol} denied: {assessment.code}",
        ts=assessment.ts,
        context={
            **refusal_context,
            "symbol": assessment.symbol,
            "assessment_id": str(assessment.id),
            "strategy_id": assessment.strategy_id or "",
        },
        generation=assessment.generation,
    )
    return Outgoing(RISK_ALERTS, alert, assessment.correlation_id)


def reply_of(assessment: Assessment, *, replayed: bool, binding: bool = True) -> AssessmentReply:
    """The answer to a caller; a preview (`binding` false) never carries an order."""
    message = message_of(assessment)
    failed = next((c for c in assessment.checks if c.passed is False), None)
    detail = "approved" if failed is None else _detail(failed)
    return AssessmentReply(
        verdict=assessment.verdict,
        code=assessment.code or "APPROVED",
        detail=detail,
        assessment=message,
        order=order_of(assessment, message) if binding else None,
        replayed=replayed,
    )


def _detail(check: CheckResult) -> str:
    note = f" ({check.note})" if check.note else ""
    return f"{check.value or 'nothing'} against {check.limit or 'none'}{note}"
