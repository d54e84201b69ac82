"""A backtest from its spec to its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from libs.common.backtest.data import History, Reader, Wanted
from libs.common.backtest.decide import Chosen, check_length, chosen_of, decide, run_bars, spans
from libs.common.backtest.errors import DataError
from libs.common.backtest.files import FileReader
from libs.common.backtest.models import models_of
from libs.common.backtest.result import BacktestResult, Ran
from libs.common.backtest.sample import SampleReader
from libs.common.backtest.spec import BacktestSpec
from libs.common.quant.metrics import compute_metrics
from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.market import Market, MarketError
from libs.common.quant.simulation.models import Models
from libs.common.quant.simulation.outcome import Outcome
from libs.common.quant.simulation.sleeves import Sleeve
from libs.common.strategy.registry import Registry

Tell = Callable[[str, int, int], None]
"""Hears of progress: the stage, how much is done, of how much."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Hear nothing."""


def reader_of(spec: BacktestSpec, store: Reader | None = None) -> Reader:
    """Return where the spec's bars come from; `store` reads the database, where there is one."""
    match spec.source.kind:
        case "sample":
            return SampleReader()
        case "file":
            return FileReader(Path(spec.source.path).expanduser())
        case "store":
            if store is None:
                raise DataError("source store: there is no database here; use the service")
            return store


def choices_of(spec: BacktestSpec, registry: Registry) -> tuple[Chosen, ...]:
    """Return the spec's strategies, ready to decide.

    Raises NotFoundError for an unknown strategy, InvalidParamsError for its parameters: both name
    the nearest known ones.
    """
    return tuple(chosen_of(spec, c, registry.get(c.class_name)) for c in spec.strategies)


def read_history(spec: BacktestSpec, chosen: Sequence[Chosen], reader: Reader) -> History:
    """Return the bars that the spec asks for, with what the warm-up needs before them."""
    wanted = Wanted(
        spec.symbols,
        spec.timeframe,
        spec.start_ns,
        spec.end_ns,
        before=max((one.warmup for one in chosen), default=0),
        gap_days_max=spec.gap_days_max,
    )
    history = reader.read(wanted).until(spec.end_ns)
    for symbol, bars in history.bars.items():
        if len(bars) == 0:
            raise DataError(f"{history.source}: {symbol} has no bars before the end")
    return history


def run_backtest(
    spec: BacktestSpec, history: History, chosen: Sequence[Chosen], tell: Tell = silent
) -> BacktestResult:
    """Decide, execute, measure. Raises DataError, SpecError, StepError.

    The memory of `chosen` is used up: take fresh ones for another run.
    """
    models = models_of(spec, closes_only=history.closes_only)
    notes = [*history.notes]
    for one in chosen:
        notes += check_length(one, history, spec.start_ns)
    began = time.perf_counter()
    sleeves = []
    for done, one in enumerate(chosen):
        tell("decide", done, len(chosen))
        sleeves.append(decide(one, history, spec.start_ns))
    decided = time.perf_counter()
    tell("execute", 0, 1)
    traded = {symbol for one in chosen for symbol in one.choice.symbols}
    bars = {s: b for s, b in run_bars(history, spec.start_ns).items() if s in traded}
    notes += spans(bars)
    market = market_of(spec, history, bars)
    outcome = execute_on(market, sleeves, models, history)
    executed = time.perf_counter()
    tell("measure", 0, 1)
    benchmark = _benchmark(spec, history, outcome.ts)
    fills = outcome.fills
    metrics = compute_metrics(
        outcome.ts,
        outcome.equity,
        pnl=outcome.trades["profit"],
        traded=fills["quantity"] * fills["price"],
        exposure=outcome.exposure_long + outcome.exposure_short,
        benchmark=benchmark,
    )
    return BacktestResult(
        spec=spec,
        strategies=tuple(Ran.of(one) for one in chosen),
        symbols=market.symbols,
        outcome=outcome,
        signals={sleeve.name: sleeve.signals for sleeve in sleeves},
        benchmark=benchmark,
        last_prices=np.array([bars[symbol]["close"][-1] for symbol in market.symbols]),
        metrics=metrics,
        bars=sum(len(own) for own in bars.values()),
        fingerprint=history.fingerprint,
        source=history.source,
        notes=tuple(notes),
        seconds={
            "decide": decided - began,
            "execute": executed - decided,
            "measure": time.perf_counter() - executed,
        },
    )


def market_of(spec: BacktestSpec, history: History, bars: Mapping[str, np.ndarray]) -> Market:
    """Return the market of the bars that are traded on. Raises DataError."""
    known = {symbol: _with_volume(own) for symbol, own in bars.items()}
    try:
        return Market.of(known, duration_ns=spec.timeframe.ns)
    except MarketError as error:
        raise DataError(f"{history.source}: {error}") from error


def execute_on(
    market: Market, sleeves: Sequence[Sleeve], models: Models, history: History
) -> Outcome:
    """Carry the signals out. Raises DataError for a model that lacks its data."""
    try:
        return execute(market, sleeves, models)
    except MarketError as error:
        raise DataError(f"{history.source}: {error}") from error


def _with_volume(bars: np.ndarray) -> np.ndarray:
    """Return the bars with 0 where the volume is unknown: the kernel wants a number."""
    unknown = np.isnan(bars["volume"])
    if not unknown.any():
        return bars
    known = bars.copy()
    known["volume"][unknown] = 0.0
    return known


def _benchmark(spec: BacktestSpec, history: History, ts: np.ndarray) -> np.ndarray | None:
    """Return the benchmark's close at each time of the curve: the last one at or before it."""
    if not spec.benchmark:
        return None
    bars = history.bars[spec.benchmark]
    place = np.searchsorted(bars["ts"], ts, side="right") - 1
    closes: np.ndarray = bars["close"][np.maximum(place, 0)]
    return closes
