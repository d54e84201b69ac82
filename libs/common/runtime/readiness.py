"""What keeps a service from being ready, by name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from libs.common.runtime.metrics import READY


@dataclass
class Readiness:
    """Reasons not to be ready; none left means ready. `changed` is set at every change."""

    reasons: dict[str, str] = field(default_factory=lambda: {"start": "starting"})
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        """Tell whether nothing stands in the way."""
        return not self.reasons

    def block(self, part: str, reason: str) -> None:
        """Note that `part` is not fine, and why."""
        if self.reasons.get(part) != reason:
            self.reasons[part] = reason
            self._announce()

    def clear(self, part: str) -> None:
        """Note that `part` is fine."""
        if self.reasons.pop(part, None) is not None:
            self._announce()

    def _announce(self) -> None:
        READY.set(1 if self.ready else 0)
        self.changed.set()
