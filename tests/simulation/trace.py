"""What happened, line by line: the digest proves that a seed replays, the end tells why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

from tests.simulation.loop import LIFE, Life


class Trace:
    """Keeps what was told as it was told; it becomes text when somebody reads it.

    So what is told must be what never changes: texts, numbers, names, times.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._told: list[tuple[float, Life | None, str, tuple[object, ...]]] = []
        self.bugs: list[str] = []

    def note(self, kind: str, *facts: object) -> None:
        """Add a line."""
        self._told.append((self._now(), LIFE.get(), kind, facts))

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        return [
            f"{at:12.6f} {life or 'world'} {kind} {' '.join(map(str, facts))}"
            for at, life, kind, facts in self._told
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many lines there are of each kind."""
        return Counter(kind for _, _, kind, _ in self._told)

    @property
    def digest(self) -> str:
        """The number of lines so far and the digest of all."""
        text = "".join(self.lines).encode()
        return f"{len(self._told)}:{hashlib.blake2b(text, digest_size=16).hexdigest()}"


class TraceLogger:
    """structlog's face of a trace: the services' logs become lines of it.

    What they log as an exception is a bug that an edge has swallowed: it is kept as such.
    """

    trace: Trace | None = None

    def __init__(self, logger: Any, processors: Any, context: Any) -> None:
        del logger, processors, context

    def bind(self, **_: Any) -> TraceLogger:
        """Return itself."""
        return self

    def _line(self, event: str, facts: dict[str, Any]) -> None:
        if self.trace is not None:
            told = [f"{name}={value}" for name, value in facts.items() if name != "exc_info"]
            self.trace.note(f"log.{event}", *told)

    def debug(self, event: str, **facts: Any) -> None:
        """Add a line."""
        self._line(event, facts)

    info = warning = error = critical = debug

    def exception(self, event: str, **facts: Any) -> None:
        """Add a line, and keep the exception under way as a bug."""
        self._line(event, facts)
        if self.trace is not None:
            import traceback

            self.trace.bugs.append(f"{event} {facts}: {traceback.format_exc()}")


def listen(trace: Trace | None) -> None:
    """Send the services' logs to `trace`; None restores structlog's defaults."""
    TraceLogger.trace = trace
    if trace is None:
        structlog.reset_defaults()
    else:
        structlog.configure(
            wrapper_class=TraceLogger,  # type: ignore[arg-type]
            processors=[],
            logger_factory=lambda *_: None,
            cache_logger_on_first_use=False,
        )
