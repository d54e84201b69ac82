"""What happened, line by line: the digest proves that a seed replays, the end tells why."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from tests.simulation.loop import LIFE


class Trace:
    """Keeps the last `length` lines and the digest of all."""

    def __init__(self, now: Callable[[], float], length: int = 400) -> None:
        self._now = now
        self._digest = hashlib.blake2b(digest_size=16)
        self.lines: deque[str] = deque(maxlen=length)
        self.count = 0
        self.counts: dict[str, int] = {}
        self.bugs: list[str] = []

    def note(self, kind: str, *facts: object) -> None:
        """Add a line."""
        line = f"{self._now():12.6f} {LIFE.get() or 'world'} {kind} {' '.join(map(str, facts))}"
        self._digest.update(line.encode())
        self.lines.append(line)
        self.count += 1
        self.counts[kind] = self.counts.get(kind, 0) + 1

    @property
    def digest(self) -> str:
        """The digest of all lines so far."""
        return f"{self.count}:{self._digest.hexdigest()}"


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
            told = (f"{name}={value}" for name, value in facts.items() if name != "exc_info")
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
