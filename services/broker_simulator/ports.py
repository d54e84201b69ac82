"""What the broker needs from outside."""

from __future__ import annotations

from typing import Protocol

from services.broker_simulator.engine.registry import Changes


class StateStore(Protocol):
    """Keeps the books through a crash."""

    def save(
        self,
        changes: Changes,
        now_ns: int,
        sequence: int,
        marks: dict[str, tuple[int, int, int, int, int, int, int]],
    ) -> None:
        """Store the changes with the time they lead to, all or nothing."""
        ...

    def close(self) -> None:
        """Let go of the storage."""
        ...
