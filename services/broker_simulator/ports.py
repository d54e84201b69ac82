"""What the broker needs from outside."""

from __future__ import annotations

from typing import Protocol

from services.broker_simulator.engine.registry import Changes

# By symbol: bid, ask, bid_size, ask_size, last print, previous close, time of the quote.
Marks = dict[str, tuple[int, int, int, int, int, int, int]]


class StateStore(Protocol):
    """Keeps the books through a crash."""

    def save(
        self,
        changes: Changes,
        now_ns: int,
        sequence: int,
        marks: Marks | None = None,
    ) -> None:
        """Store the changes with the time they lead to, all or nothing; marks where given."""
        ...

    def close(self) -> None:
        """Let go of the storage."""
        ...
