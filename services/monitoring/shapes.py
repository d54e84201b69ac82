"""What monitoring's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TypedDict

from services.monitoring.logic import HealthState


class InstanceShape(TypedDict):
    """One process of a service, by its own word."""

    instance: str
    ready: bool
    reasons: Sequence[str]
    ts: dt.datetime
    started_at: dt.datetime
    figures: Mapping[str, float]


class ServiceShape(TypedDict):
    """How one service is."""

    service: str
    state: HealthState
    since: dt.datetime
    reasons: Sequence[str]
    heartbeat_age_s: float | None
    expected: bool
    instances: Sequence[InstanceShape]


class HealthShape(TypedDict):
    """How all of them are."""

    state: HealthState
    services: Sequence[ServiceShape]
