"""Where a run that broke its limits stands: stepped through a bar at a time, each noted before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from libs.common.backtest.data import History
from libs.common.backtest.decide import Chosen
from libs.common.kernel.clock import from_ns
from libs.common.strategy.protocol import Stepper
from services.backtester.pulse_file import Pulse, pulse_in


def locate(chosen: Sequence[Chosen], history: History, folder: Path) -> None:
    """Step through all strategies over all bars, noting each bar before it is taken."""
    with pulse_in(folder) as pulse:
        for one in chosen:
            path, line = one.loaded.definition.place
            for stepper in one.steppers:
                _step_through(stepper, history, f"{path}:{line}: {one.choice.title}", pulse)


def _step_through(stepper: Stepper, history: History, place: str, pulse: Pulse) -> None:
    bars = {symbol: history.bars[symbol] for symbol in stepper.symbols}
    cursors = dict.fromkeys(bars, 0)
    named = ", ".join(stepper.symbols[:3]) + (" …" if len(stepper.symbols) > 3 else "")
    times = np.unique(np.concatenate([own["ts"] for own in bars.values()]))
    for number, ts in enumerate(times.tolist()):
        due = {s: bars[s][at] for s, at in cursors.items() if _starts(bars[s], at, ts)}
        pulse.note(f"{place}: bar {number} of {named} ({from_ns(ts):%Y-%m-%d %H:%M} UTC)")
        stepper.take(due)
        for symbol in due:
            cursors[symbol] += 1


def _starts(bars: np.ndarray, at: int, ts: int) -> bool:
    return at < len(bars) and int(bars["ts"][at]) == ts
