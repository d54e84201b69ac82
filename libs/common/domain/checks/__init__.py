"""The pre-trade checks: pure functions of a frozen `Case`, in a fixed order, cheap first."""

from libs.common.domain.checks.inputs import (
    Case,
    Flow,
    Limits,
    Mark,
    OrderFacts,
    SymbolExposure,
    Totals,
)
from libs.common.domain.checks.judge import ALL, CODES, first_denial, judge
from libs.common.domain.checks.results import Check

__all__ = [
    "ALL",
    "CODES",
    "Case",
    "Check",
    "Flow",
    "Limits",
    "Mark",
    "OrderFacts",
    "SymbolExposure",
    "Totals",
    "first_denial",
    "judge",
]
