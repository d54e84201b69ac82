"""What an alert is, and when a repeated one is worth telling again."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from libs.common.contracts.messages import Notification, RiskAlert
from libs.common.domain.vocabulary import Level

RANK: Final = {Level.INFO: 0, Level.WARNING: 1, Level.ERROR: 2, Level.CRITICAL: 3}


class AlertState(StrEnum):
    """Firing until a person acknowledges it, open until it is resolved."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Raise:
    """One occurrence of something that a person should know.

    Occurrences of one `fingerprint` are one alert until it is resolved. `message_id` names the
    message that brought it: its second arrival counts nothing.
    """

    message_id: UUID
    level: Level
    source: str
    fingerprint: str
    title: str
    message: str
    ts: dt.datetime
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the open alert of a fingerprint."""

    level: Level
    state: AlertState
    told_at: dt.datetime | None


def fingerprint_of(*parts: str) -> str:
    """Return a short stable name for what the parts name together (16 hex digits of SHA-256)."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def of_notification(notification: Notification, message_id: UUID, source: str) -> Raise:
    """Return the occurrence that a Notification stands for."""
    return Raise(
        message_id=message_id,
        level=notification.level,
        source=source,
        fingerprint=notification.fingerprint or fingerprint_of(source, notification.title),
        title=notification.title,
        message=notification.message,
        ts=notification.ts,
        context=dict(notification.context),
    )


def of_risk_alert(alert: RiskAlert, message_id: UUID, source: str) -> Raise:
    """Return the occurrence that a RiskAlert stands for: one alert per account and code."""
    return Raise(
        message_id=message_id,
        level=alert.level,
        source=source,
        fingerprint=fingerprint_of("risk", alert.account_id, alert.code),
        title=f"{alert.code} on account {alert.account_id}",
        message=alert.message,
        ts=alert.ts,
        context={**alert.context, "account_id": alert.account_id, "code": alert.code},
    )


def worth_telling(
    raised: Raise, known: Known | None, now: dt.datetime, repeat_after: dt.timedelta
) -> bool:
    """Tell whether to send this occurrence to people.

    Only ERROR and above is. A new alert is, one that got worse is, one that is acknowledged and
    no worse is not; one still firing is again after `repeat_after`.
    """
    if RANK[raised.level] < RANK[Level.ERROR]:
        return False
    if known is None or RANK[raised.level] > RANK[known.level]:
        return True
    if known.state is AlertState.ACKNOWLEDGED:
        return False
    return known.told_at is None or now - known.told_at >= repeat_after
