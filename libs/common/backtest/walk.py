"""Walk-forward: parameters chosen on one stretch of time, judged on the next, again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from libs.common.backtest.columns import write_parquet
from libs.common.backtest.decide import run_bars
from libs.common.backtest.result import BacktestResult
from libs.common.backtest.run import choices_of, run_backtest
from libs.common.backtest.spec import BacktestSpec
from libs.common.backtest.sweep.crews import Kind
from libs.common.backtest.sweep.plan import Plan, Steps
from libs.common.backtest.sweep.sweep import sweep
from libs.common.backtest.sweep.workshop import Workshop
from libs.common.kernel.clock import format_ns
from libs.common.quant.metrics import Metrics, compute_metrics
from libs.common.quant.validation import Split, walk_forward

WALK: Final = "walk_forward.json"
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Window:
    """One step: when it learnt and was judged, what it chose, the metric there and here. Without
    `params` no trial gave a figure: the money lay still."""

    train: tuple[str, str]
    test: tuple[str, str]
    params: dict[str, Any] | None
    inside: float | None
    outside: float | None
    growth: float


@dataclass(frozen=True)
class Walk:
    """All windows, and the curve of the tests put end to end: `ts` (n,) ns, `equity` (n,)."""

    windows: tuple[Window, ...]
    ts: np.ndarray
    equity: np.ndarray
    metrics: Metrics

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, without the curve."""
        windows = msgspec.to_builtins(self.windows)
        return {"windows": windows, "metrics": self.metrics.to_json()}


def walk(
    workshop: Workshop,
    plan: Plan,
    steps: Steps,
    folder: Path,
    *,
    directories: Sequence[Path],
    crew: Kind = "auto",
    workers: int | None = None,
    tell: Tell = lambda _done, _count: None,
) -> Walk:
    """Sweep each training window, run its best parameters on the test window after it.

    Every test begins with the money that the one before it left; positions are not carried over.
    The sweeps are kept in the folder and are not made again. Raises InvalidInputError where no
    window fits, and as `sweep` does.

    Source: Pardo, The Evaluation and Optimization of Trading Strategies, 2nd ed. (2008), ch. 11.
    """
    bars = run_bars(workshop.history, workshop.spec.start_ns)
    times = np.unique(np.concatenate([own["ts"] for own in bars.values()]))
    splits = list(
        walk_forward(
            len(times), steps.train, steps.test, anchored=steps.anchored, purge=steps.purge,
            embargo=steps.embargo,
        )
    )  # fmt: skip
    windows: list[Window] = []
    stamps, curves = [], []
    money = workshop.spec.cash
    for number, split in enumerate(splits):
        tell(number, len(splits))
        learnt = _shop_of(workshop, times, split.train)
        best = sweep(
            learnt, plan, folder / f"window-{number + 1:03}", directories=directories, crew=crew,
            workers=workers,
        )["best"]  # fmt: skip
        judged = _shop_of(workshop, times, split.test)
        result = None if best is None else _judge(judged, best["params"])
        ts = times[split.test]
        curve = np.full(len(ts), money)
        if result is not None:
            curve = result.outcome.equity * (money / workshop.spec.cash)
            ts = result.outcome.ts
        stamps.append(ts)
        curves.append(curve)
        windows.append(_window(times, split, plan.metric, best, result))
        money = float(curve[-1])
    tell(len(splits), len(splits))
    ts, equity = np.concatenate(stamps), np.concatenate(curves)
    found = Walk(tuple(windows), ts, equity, compute_metrics(ts, equity))
    write_parquet(folder / "equity.parquet", {"ts": ts, "equity": equity})
    text = msgspec.json.format(msgspec.json.encode(found.to_json()), indent=2)
    (folder / WALK).write_bytes(text + b"\n")
    return found


def _shop_of(workshop: Workshop, times: np.ndarray, bars: np.ndarray) -> Workshop:
    """Return a workshop of a window: bars before it only warm up, later ones are not there."""
    first, last = int(times[bars[0]]), int(times[bars[-1]])
    spec: BacktestSpec = msgspec.structs.replace(
        workshop.spec, start=format_ns(first), end=format_ns(last + 1)
    )
    return Workshop(spec, workshop.history.until(last + 1), workshop.registry)


def _judge(workshop: Workshop, params: dict[str, Any]) -> BacktestResult:
    spec = workshop.spec_with(params)
    return run_backtest(spec, workshop.history, choices_of(spec, workshop.registry))


def _window(
    times: np.ndarray,
    split: Split,
    metric: str,
    best: dict[str, Any] | None,
    result: BacktestResult | None,
) -> Window:
    def ends(bars: np.ndarray) -> tuple[str, str]:
        return format_ns(int(times[bars[0]]))[:19], format_ns(int(times[bars[-1]]))[:19]

    outside = math.nan if result is None else float(getattr(result.metrics, metric))
    return Window(
        train=ends(split.train),
        test=ends(split.test),
        params=None if best is None else best["params"],
        inside=None if best is None else best["metrics"][metric],
        outside=None if math.isnan(outside) else outside,
        growth=1.0 if result is None else float(result.outcome.equity[-1]) / result.spec.cash,
    )
