"""Decision by decision: the strategies' code on the stored bars against the recorded signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.backtest.parity.session import LiveSignal, LiveStrategy, Session
from libs.common.strategy.kinds import runners_of
from libs.common.strategy.loader import Loaded

Wish = tuple[float, float, float, float]
SAME_SESSION_NS: Final = 3_600_000_000_000
WARM: Final = 10
PRICE_STEP: Final = 1e-8


@dataclass(frozen=True, slots=True)
class Difference:
    """Where live and replay part: what each said there (None: nothing), and why as far as it can
    be told. Of decisions: data, warm-up, code, unexplained; of orders and fills see `causes`."""

    strategy_id: str
    symbol: str
    bar_ts: int
    live: str
    replay: str
    cause: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many were compared, how many are the same, how many only repeat what was in force (a
    restart states a decision anew), and the differences."""

    live: int
    replayed: int
    same: int
    restated: int
    differences: tuple[Difference, ...]


def compare_decisions(
    session: Session, strategy: LiveStrategy, loaded: Loaded
) -> tuple[Agreement, ...]:
    """Return the agreement of one strategy on each of its symbols. Raises StepError."""
    stored = session.bars[strategy.timeframe]
    bars = {s: own[np.searchsorted(own["ts"], strategy.begun.get(s, 0)) :]
            for s, own in stored.items()}  # fmt: skip
    symbols = tuple(symbol for symbol in strategy.symbols if symbol in bars)
    steppers = runners_of(loaded.definition, strategy.params, symbols, strategy.timeframe)
    changed = loaded.version_hash != strategy.version_hash
    found = []
    for stepper in steppers:
        history = {symbol: bars[symbol] for symbol in stepper.symbols}
        for symbol, signals in stepper.decide(history).items():
            own = bars[symbol]
            replayed = {
                int(own["ts"][row["index"]]): _wish(row) for row in signals if row["index"] >= 0
            }
            live = {
                s.bar_ts: s
                for s in session.signals
                if s.strategy_id == strategy.id and s.symbol == symbol
            }
            found.append(
                _agreement(session, strategy, symbol, live, replayed, own, stepper.warmup, changed)
            )
    return tuple(found)


def _wish(row: np.void) -> Wish:
    return (
        float(row["target"]),
        float(row["stop"]),
        float(row["take_profit"]),
        float(row["limit"]),
    )


def alike(one: Wish | None, other: Wish | None) -> bool:
    """Tell whether two decisions are the same: the target to the bit, prices to the eight places
    that are stored, NaN being NaN."""
    if one is None or other is None:
        return one is other
    prices = zip(one[1:], other[1:], strict=True)
    return one[0] == other[0] and all(abs(a - b) <= PRICE_STEP or (a != a and b != b)
                                      for a, b in prices)  # fmt: skip


def _agreement(
    session: Session,
    strategy: LiveStrategy,
    symbol: str,
    live: dict[int, LiveSignal],
    replayed: dict[int, Wish],
    bars: np.ndarray,
    warmup: int,
    changed: bool,
) -> Agreement:
    in_force: list[Wish | None] = [None, None]
    same = restated = 0
    differences = []
    begun = min(live, default=session.end_ns)
    window = [ts for ts in sorted({*live, *replayed}) if ts < session.end_ns]
    for ts in window:
        ours = live[ts].wish if ts in live else None
        theirs = replayed.get(ts)
        inside = ts >= max(session.start_ns, begun)
        if alike(ours, theirs):
            same += inside
        elif (ours is None or theirs is None) and alike(
            ours or theirs, in_force[0] if ours is None else in_force[1]
        ):
            restated += inside
        elif inside:
            cause = _cause(live.get(ts), bars, ts, warmup, begun, strategy, changed=changed)
            differences.append(Difference(strategy.id, symbol, ts, told(ours), told(theirs), cause))
        in_force = [ours or in_force[0], theirs or in_force[1]]
    inside_of = [ts for ts in window if ts >= max(session.start_ns, begun)]
    return Agreement(
        live=sum(ts in live for ts in inside_of),
        replayed=sum(ts in replayed for ts in inside_of),
        same=same,
        restated=restated,
        differences=tuple(differences),
    )


def told(wish: Wish | None) -> str:
    """Return a decision as a person reads it."""
    if wish is None:
        return "nothing"
    names = ("target", "stop", "take_profit", "limit")
    return " ".join(f"{n} {v:g}" for n, v in zip(names, wish, strict=True) if v == v)


def _cause(
    live: LiveSignal | None,
    bars: np.ndarray,
    ts: int,
    warmup: int,
    begun: int,
    strategy: LiveStrategy,
    *,
    changed: bool,
) -> str:
    """Return why a decision differs: other code, other bars than are stored now, a state that was
    still warming up. What is none of these is code too, and a bug: it says `unexplained`."""
    if changed:
        return "code"
    at = int(np.searchsorted(bars["ts"], ts))
    if at >= len(bars) or int(bars["ts"][at]) != ts:
        return "data"
    if live is not None and abs(live.reference - float(bars["close"][at])) > PRICE_STEP:
        return "data"
    first = max(at - max(warmup, 1), 0)
    steps = np.diff(bars["ts"][first : at + 1])
    if bool(((steps > strategy.timeframe.ns) & (steps < SAME_SESSION_NS)).any()):
        return "data"
    start = int(np.searchsorted(bars["ts"], begun))
    return "warm-up" if at - start < WARM * max(warmup, 1) else "unexplained"


def summed(parts: Sequence[Agreement]) -> Agreement:
    """Return several agreements as one."""

    def differences() -> Iterator[Difference]:
        for part in parts:
            yield from part.differences

    return Agreement(
        live=sum(part.live for part in parts),
        replayed=sum(part.replayed for part in parts),
        same=sum(part.same for part in parts),
        restated=sum(part.restated for part in parts),
        differences=tuple(sorted(differences(), key=lambda d: (d.bar_ts, d.strategy_id, d.symbol))),
    )
