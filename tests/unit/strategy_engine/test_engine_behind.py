"""How far a strategy is behind the bars that have come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.strategy_engine.roster import bars_behind
from services.strategy_engine.streams import StreamStatus

MINUTE = 60_000_000_000


def member(*streams: tuple[tuple[str, ...], int, StreamStatus]) -> Any:
    return SimpleNamespace(
        configuration=SimpleNamespace(timeframe="1m", span_ns=MINUTE),
        streams={
            symbols[0]: SimpleNamespace(
                symbols=symbols, runner=SimpleNamespace(ts=ts * MINUTE), status=status
            )
            for symbols, ts, status in streams
        },
    )


@pytest.mark.parametrize(
    ("streams", "behind"),
    [
        ([(("A",), 10, StreamStatus.RUNNING)], 0.0),
        ([(("A",), 10, StreamStatus.RUNNING), (("B",), 4, StreamStatus.RUNNING)], 3.0),
        ([(("A", "B"), 6, StreamStatus.RUNNING)], 4.0),
        ([(("A",), 1, StreamStatus.FAULTED)], 0.0),  # it is told of as stopped
        ([(("A",), 0, StreamStatus.RUNNING)], 0.0),  # it has not begun
        ([(("C",), 1, StreamStatus.RUNNING)], 0.0),  # nothing was heard of that symbol
        ([(("A",), 12, StreamStatus.RUNNING)], 0.0),
    ],
)
def test_the_slowest_running_stream_counts(streams: list[Any], behind: float) -> None:
    heard = {("A", "1m"): 10 * MINUTE, ("B", "1m"): 7 * MINUTE, ("C", "5m"): 99 * MINUTE}
    assert bars_behind(member(*streams), heard) == behind
