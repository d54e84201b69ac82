"""Which occurrences are one alert, and which are told to people."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from libs.common.contracts.messages import Notification, RiskAlert
from libs.common.domain.vocabulary import Level
from services.monitoring.alerts import (
    AlertState,
    Known,
    Raise,
    fingerprint_of,
    of_notification,
    of_risk_alert,
    worth_telling,
)

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
REPEAT = dt.timedelta(minutes=5)


def raised(level: Level) -> Raise:
    return Raise(uuid.UUID(int=1), level, "risk_manager", "f", "title", "message", NOW)


def ago(**delta: float) -> dt.datetime:
    return NOW - dt.timedelta(**delta)


@pytest.mark.parametrize(
    ("level", "known", "told"),
    [
        (Level.INFO, None, False),
        (Level.WARNING, None, False),
        (Level.ERROR, None, True),
        (Level.CRITICAL, None, True),
        (Level.ERROR, Known(Level.ERROR, AlertState.FIRING, ago(minutes=4)), False),
        (Level.ERROR, Known(Level.ERROR, AlertState.FIRING, ago(minutes=5)), True),
        (Level.ERROR, Known(Level.ERROR, AlertState.FIRING, None), True),
        (Level.ERROR, Known(Level.ERROR, AlertState.ACKNOWLEDGED, ago(hours=9)), False),
        (Level.ERROR, Known(Level.ERROR, AlertState.ACKNOWLEDGED, None), False),
        (Level.CRITICAL, Known(Level.ERROR, AlertState.ACKNOWLEDGED, NOW), True),
        (Level.CRITICAL, Known(Level.ERROR, AlertState.FIRING, NOW), True),
    ],
)
def test_what_is_told(level: Level, known: Known | None, told: bool) -> None:
    assert worth_telling(raised(level), known, NOW, REPEAT) is told


def test_fingerprint_separates_its_parts() -> None:
    assert fingerprint_of("a", "bc") != fingerprint_of("ab", "c")
    assert fingerprint_of("a", "b") == fingerprint_of("a", "b")
    assert len(fingerprint_of("a")) == 16


def test_risk_alert_is_one_per_account_and_code() -> None:
    def alert(code: str, message: str) -> Raise:
        source = RiskAlert(account_id="main", code=code, level=Level.ERROR, message=message, ts=NOW)
        return of_risk_alert(source, uuid.uuid4(), "risk_manager")

    assert alert("DAILY_LOSS", "x").fingerprint == alert("DAILY_LOSS", "y").fingerprint
    assert alert("DAILY_LOSS", "x").fingerprint != alert("DRAWDOWN", "x").fingerprint
    assert alert("DAILY_LOSS", "x").context["code"] == "DAILY_LOSS"


def test_notification_without_fingerprint_is_known_by_source_and_title() -> None:
    def note(title: str) -> Raise:
        source = Notification(level=Level.INFO, title=title, message="m", fingerprint="", ts=NOW)
        return of_notification(source, uuid.uuid4(), "data_collector")

    assert note("a").fingerprint == note("a").fingerprint != note("b").fingerprint
