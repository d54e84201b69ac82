"""All tables, one module per writing service; `metadata` is what migrations are checked against."""

from __future__ import annotations

from libs.common.runtime.schema import (
    audit,
    backtests,
    deployments,
    desks,
    execution,
    market,
    monitoring,
    outbox,
    risk,
    security,
    snapshots,
    tieouts,
    triggers,
)
from libs.common.runtime.schema import strategies as strategies
from libs.common.runtime.schema.base import WRITERS, metadata

__all__ = [
    "WRITERS",
    "audit",
    "backtests",
    "deployments",
    "desks",
    "execution",
    "market",
    "metadata",
    "monitoring",
    "outbox",
    "risk",
    "security",
    "snapshots",
    "strategies",
    "tieouts",
    "triggers",
]
