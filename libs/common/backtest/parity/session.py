"""What was recorded of a live session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.quant.simulation.sleeves import Sizing


@dataclass(frozen=True, slots=True)
class LiveStrategy:
    """A strategy as it ran: its code by its hash, how it was sized.

    `begun`: per symbol the first bar (ns) that its memory has seen, as far as it is known. A
    running sum depends on it in the last bit, and a tie of two averages on that.
    """

    id: str
    class_name: str
    version_hash: str
    params: Mapping[str, Any]
    symbols: tuple[str, ...]
    timeframe: Timeframe
    weight: float
    sizing: Sizing
    begun: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LiveSignal:
    """A signal and what became of it, prices NaN where there were none.

    `bar_ts` ns; `reference` the close that the engine saw; `judged` the price that the risk manager
    saw, NaN if it was not asked; `code` why it was denied, empty if it was not; `ordered` and
    `filled` signed shares, `price` the mean of its executions, `filled_at` (ns) the first of them;
    `status` where its order stood at last.
    """

    id: str
    strategy_id: str
    symbol: str
    bar_ts: int
    target: float
    stop: float
    take_profit: float
    limit: float
    reference: float
    traded: bool
    judged: float = float("nan")
    code: str = ""
    ordered: float = 0.0
    filled: float = 0.0
    price: float = float("nan")
    filled_at: int = 0
    status: str = ""

    @property
    def wish(self) -> tuple[float, float, float, float]:
        """Return what was decided."""
        return self.target, self.stop, self.take_profit, self.limit


@dataclass(frozen=True)
class Session:
    """A stretch of a live session: `start_ns` to before `end_ns`, what ran, what came of it.

    `bars`: per timeframe and symbol (k,) BAR as stored, from long before the start to the end.
    `signals` from the first ever, by time; `equity` the account's before them.
    """

    start_ns: int
    end_ns: int
    equity: float
    strategies: tuple[LiveStrategy, ...]
    bars: Mapping[Timeframe, Mapping[str, np.ndarray]]
    signals: tuple[LiveSignal, ...]
