"""Order by order and fill by fill: the recorded signals carried out by the kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.backtest.parity.causes import (
    SHARES_SAME,
    fill_cause,
    missing_cause,
    order_cause,
)
from libs.common.backtest.parity.decisions import Difference
from libs.common.backtest.parity.session import LiveSignal, LiveStrategy, Session
from libs.common.quant.simulation.execute import execute
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.models import Models
from libs.common.quant.simulation.outcome import Outcome
from libs.common.quant.simulation.records import SIGNAL
from libs.common.quant.simulation.sleeves import Sleeve

BPS_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Executed:
    """What the kernel made of one signal: signed shares asked for and filled, their mean price,
    the start of the bar of the first fill (ns)."""

    asked: float
    filled: float
    price: float
    bar_ts: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Orders or fills side by side. `off_bps` (k,): how much larger live orders were, or how much
    more live executions cost (negative: less), in basis points of the kernel's."""

    compared: int
    same: int
    differences: tuple[Difference, ...]
    off_bps: np.ndarray


def carried_out(session: Session, models: Models) -> dict[str, Executed]:
    """Return what the kernel makes of every recorded signal, by its id."""
    timeframe = min((s.timeframe for s in session.strategies), key=lambda each: each.ns)
    bars = session.bars[timeframe]
    market = Market.of(bars, duration_ns=timeframe.ns)
    sleeves, ids = [], []
    for strategy in session.strategies:
        own, names = _signals(session, strategy, bars)
        if own:
            sleeves.append(Sleeve(strategy.id, own, strategy.sizing, strategy.weight))
            ids.append(names)
    outcome = execute(market, sleeves, models)
    return _by_signal(outcome, ids)


def _signals(
    session: Session, strategy: LiveStrategy, bars: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return the recorded signals as the kernel takes them, and their ids in the same order.

    A signal of a longer bar stands on the last short bar within it: both are known at its close.
    """
    found: dict[str, np.ndarray] = {}
    names: dict[str, list[str]] = {}
    for symbol in strategy.symbols:
        own = bars.get(symbol)
        if own is None:
            continue
        rows: dict[int, LiveSignal] = {}
        for signal in session.signals:
            if signal.strategy_id == strategy.id and signal.symbol == symbol and signal.traded:
                ends = signal.bar_ts + strategy.timeframe.ns
                index = int(np.searchsorted(own["ts"], ends)) - 1
                if index >= 0:
                    rows[index] = signal
        array = np.zeros(len(rows), SIGNAL)
        for place, (index, signal) in enumerate(sorted(rows.items())):
            array[place] = (index, *signal.wish, 1.0, 0.0)
        found[symbol] = array
        names[symbol] = [signal.id for _, signal in sorted(rows.items())]
    return found, names


def _by_signal(outcome: Outcome, ids: Sequence[Mapping[str, list[str]]]) -> dict[str, Executed]:
    shares: dict[str, float] = {}
    money: dict[str, float] = {}
    asked: dict[str, float] = {}
    begun: dict[str, int] = {}
    for row in outcome.fills:
        if row["signal"] < 0:
            continue
        name = ids[row["sleeve"]][outcome.symbols[row["symbol"]]][row["signal"]]
        quantity = float(row["side"] * row["quantity"])
        shares[name] = shares.get(name, 0.0) + quantity
        money[name] = money.get(name, 0.0) + quantity * float(row["price"])
        begun.setdefault(name, int(row["ts"]))
        asked[name] = asked.get(name, 0.0) + abs(quantity)
    for row in outcome.refused:
        if row["signal"] >= 0:
            name = ids[row["sleeve"]][outcome.symbols[row["symbol"]]][row["signal"]]
            asked[name] = asked.get(name, 0.0) + float(row["quantity"])
    return {
        name: Executed(
            asked=math.copysign(asked[name], shares.get(name, 1.0)),
            filled=shares.get(name, 0.0),
            price=money[name] / shares[name] if shares.get(name) else math.nan,
            bar_ts=begun.get(name, 0),
        )
        for name in asked
    }


def compare_orders(session: Session, kernel: Mapping[str, Executed]) -> Comparison:
    """Return how the live orders compare with the kernel's, in signed shares."""
    same, compared, differences, off = 0, 0, [], []
    apart: dict[tuple[str, str], float] = {}
    for signal in session.signals:
        if not signal.traded:
            continue
        theirs = kernel.get(signal.id)
        replay = 0.0 if theirs is None else theirs.asked
        place = (signal.strategy_id, signal.symbol)
        before = apart.get(place, 0.0)
        apart[place] = before + signal.filled - (0.0 if theirs is None else theirs.filled)
        if signal.bar_ts < session.start_ns:
            continue
        compared += 1
        if signal.ordered * replay > 0:
            off.append(1e4 * (signal.ordered / replay - 1.0))
        if signal.ordered == replay or (signal.ordered == 0 and abs(replay) < 1.0):
            same += 1
            continue
        cause = order_cause(signal, replay, before)
        differences.append(_differs(signal, f"{signal.ordered:+g}", f"{replay:+g}", cause))
    return Comparison(compared, same, tuple(differences), np.array(off))


def compare_fills(
    session: Session, kernel: Mapping[str, Executed], spans: Mapping[str, int]
) -> Comparison:
    """Return how the live executions compare with the kernel's: of every live order that either
    side filled, whether it was filled, whole, and at which mean price."""
    same, compared, differences, costs = 0, 0, [], []
    for signal in _inside(session):
        theirs = kernel.get(signal.id)
        filled = 0.0 if theirs is None else theirs.filled
        if not signal.ordered or not (signal.filled or filled):
            continue
        compared += 1
        live = f"{signal.price:g}" if signal.filled else f"nothing ({signal.status or 'open'})"
        if theirs is None or not filled:
            differences.append(_differs(signal, live, "nothing", "fill model"))
            continue
        replay = f"{theirs.price:g}"
        if not signal.filled:
            differences.append(_differs(signal, live, replay, missing_cause(signal)))
            continue
        bps = 1e4 * (signal.price / theirs.price - 1.0) * math.copysign(1.0, signal.filled)
        costs.append(bps)
        part = abs(signal.filled) < abs(signal.ordered) - SHARES_SAME
        if abs(bps) < BPS_SAME and not part:
            same += 1
            continue
        if part:
            live = f"{signal.filled:g} of {signal.ordered:g} at {live}"
        cause = fill_cause(signal, theirs.bar_ts + spans[signal.strategy_id], bps)
        differences.append(_differs(signal, live, replay, cause))
    return Comparison(compared, same, tuple(differences), np.array(costs))


def _inside(session: Session) -> list[LiveSignal]:
    return [s for s in session.signals if s.traded and s.bar_ts >= session.start_ns]


def _differs(signal: LiveSignal, live: str, replay: str, cause: str) -> Difference:
    return Difference(signal.strategy_id, signal.symbol, signal.bar_ts, live, replay, cause)
