"""What a comparison with the broker found and did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_DETAILS_MAX = 100


@dataclass
class Findings:
    """What a run found and did. `doubts`: something must be looked at a second time."""

    executions_booked: int = 0
    executions_aliased: int = 0
    executions_reversed: int = 0
    orders_moved: int = 0
    orders_adopted: int = 0
    orders_restated: int = 0
    cash_activities: int = 0
    doubts: bool = False
    details: list[str] = field(default_factory=list)

    @property
    def news(self) -> int:
        """How much the broker knew that we did not."""
        executions = self.executions_booked + self.executions_reversed
        return executions + self.orders_moved + self.orders_adopted + self.orders_restated

    @property
    def changes(self) -> int:
        """How much was written."""
        return self.news + self.cash_activities

    def shown(self) -> dict[str, Any]:
        """Return the findings for the record."""
        return {
            "executions_booked": self.executions_booked,
            "executions_aliased": self.executions_aliased,
            "executions_reversed": self.executions_reversed,
            "orders_moved": self.orders_moved,
            "orders_adopted": self.orders_adopted,
            "orders_restated": self.orders_restated,
            "cash_activities": self.cash_activities,
            "doubts": self.doubts,
            "details": self.details[:_DETAILS_MAX],
        }
