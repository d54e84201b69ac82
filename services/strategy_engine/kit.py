"""What feeds and processes of strategies are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.kernel.clock import Clock
from libs.common.strategy.definition import Kind
from libs.common.strategy.loader import Loaded
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.panel import Panel
from services.strategy_engine.settings import EngineSettings
from services.strategy_engine.streams import UNIVERSE, Feed, Stream
from services.strategy_engine.worker import Worker


@dataclass(frozen=True)
class Kit:
    """Settings, clock, and the bell that wakes the engine."""

    settings: EngineSettings
    clock: Clock
    wake: Callable[[], None]

    def worker(self, loaded: Loaded, configuration: Configuration) -> Worker | None:
        """Return a process for the strategy, None if it is trusted to step in the engine's own.

        Raises InvalidParamsError.
        """
        definition, settings = loaded.definition, self.settings
        params = definition.parse(configuration.params)
        if definition.kind is Kind.FUSION:
            # Its members are trusted ones only.
            return None
        trusted = {path.resolve() for path in settings.trusted_dirs}
        if definition.kind is not Kind.PYTHON and loaded.path.parent in trusted:
            return None
        return Worker(
            loaded,
            params,
            configuration.timeframe,
            step_s=settings.step_timeout_s,
            memory_mb=settings.step_memory_mb,
        )

    def feed(self, stream: Stream) -> Feed | Panel:
        """Return the feed that a stream needs, still without streams."""
        configuration = stream.configuration
        timeframe, span_ns = configuration.timeframe, configuration.span_ns
        if not panelled(stream):
            return Feed(stream.symbol, timeframe, span_ns=span_ns)
        sole = len(stream.symbols) == 1
        wait_s = self.settings.gap_timeout_s if sole else self.settings.panel_wait_s
        return Panel(
            symbols=stream.symbols,
            timeframe=timeframe,
            span_ns=span_ns,
            wait_ns=round(wait_s * 1e9),
            monotonic_ns=self.clock.monotonic_ns,
            wake=self.wake,
        )


def panelled(stream: Stream) -> bool:
    """Tell whether the stream has bars of its own, not shared with other strategies."""
    return stream.worker is not None or stream.symbol == UNIVERSE
