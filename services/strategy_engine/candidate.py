"""What is to take a strategy's place, and how far it is."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from libs.common.strategy.loader import Loaded
from libs.common.strategy.registry import Registry
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.roster import Member
from services.strategy_engine.streams import Stream
from services.strategy_engine.swap import Proof, swap_view
from services.strategy_engine.worker import Worker


@dataclass
class Candidate:
    """What is to take a member's place: its streams by symbol, not yet part of the roster.

    `carried`: the streams whose memory is the old one's at the exchange.
    """

    old: Member
    loaded: Loaded
    registry: Registry
    configuration: Configuration
    worker: Worker | None
    streams: dict[str, Stream]
    carried: frozenset[str]
    proofs: dict[str, Proof]
    shadow_bars: int
    rollback: bool
    correlation_id: uuid.UUID
    actor: str
    status: str = "shadowing"
    reason: str = ""

    @property
    def ridden(self) -> int:
        """Return how many live bars every symbol has gone along for."""
        return min((s.ridden for s in self.streams.values()), default=self.shadow_bars)

    def view(self) -> dict[str, Any]:
        """Return how it stands, to be shown."""
        wanted = self.configuration
        return swap_view(
            self.proofs,
            status=self.status,
            reason=self.reason,
            class_name=wanted.class_name,
            params=dict(wanted.params),
            version_hash=wanted.version_hash,
            rollback=self.rollback,
            carried=sorted(self.carried),
            shadow_bars=self.shadow_bars,
            shadowed=self.ridden if self.shadow_bars else 0,
        )


def stood(old: Member, stream: Stream) -> int:
    """Return the last bar (ns) that the old streams of these symbols have seen, 0 if none."""
    symbols = set(stream.symbols)
    seen = (s.runner.ts for s in old.streams.values() if symbols & set(s.symbols))
    return max(seen, default=0)
