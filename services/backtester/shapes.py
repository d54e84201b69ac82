"""What the backtester's routes answer with, as OpenAPI tells it."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypedDict
from uuid import UUID

from services.backtester.ports import Artefact, Progress, Status


class BriefShape(TypedDict):
    """A run in a list: its strategies and metrics instead of its request and result."""

    id: UUID
    kind: str
    status: Status
    progress: Progress | None
    error: str | None
    artefacts: list[Artefact]
    attempts: int
    submitted_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    strategies: list[str]
    metrics: dict[str, Any] | None


class ComparisonShape(TypedDict):
    """Runs side by side, each list in the order of `ids`."""

    ids: list[UUID]
    metrics: dict[str, list[Any]]
    equity_last: list[float | None]
    same_data: bool
