"""A session compared with its replay: equal where it is, and every difference has its cause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from libs.common.backtest.parity.execution import Executed, carried_out
from libs.common.backtest.parity.report import Parity, parity_of, parity_page
from libs.common.backtest.parity.session import LiveSignal, LiveStrategy, Session
from libs.common.backtest.shelf import load_named
from libs.common.domain.timeframes import Timeframe
from libs.common.quant.simulation.models import Models
from libs.common.quant.simulation.records import BAR
from libs.common.quant.simulation.sleeves import Sizing
from libs.common.strategy.kinds import runners_of
from libs.common.strategy.registry import Registry

BUILT_IN = Path(__file__).resolve().parents[3] / "strategies"
MINUTE = 60_000_000_000
START = 1_546_300_800_000_000_000 // MINUTE * MINUTE
MODELS = Models(cash=100_000.0)
PARAMS = {"fast": 3, "slow": 7}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_named(["sma_cross"], [BUILT_IN])


@pytest.fixture(scope="module")
def session(registry: Registry) -> Session:
    """A session that went exactly as the kernel says."""
    generator = np.random.default_rng(7)
    bars = np.zeros(300, BAR)
    bars["ts"] = START + np.arange(300) * MINUTE
    bars["close"] = np.round(50 * np.exp(np.cumsum(generator.normal(0, 0.002, 300))), 2)
    bars["open"] = np.roll(bars["close"], 1)
    bars["open"][0] = bars["close"][0]
    bars["high"] = np.maximum(bars["open"], bars["close"])
    bars["low"] = np.minimum(bars["open"], bars["close"])
    bars["volume"] = 1000.0
    loaded = registry.get("sma_cross")
    (runner,) = runners_of(loaded.definition, PARAMS, ("KO",), Timeframe.MINUTE)
    found = runner.decide({"KO": bars})["KO"]
    nan = float("nan")
    signals = tuple(
        LiveSignal(str(i), "cross", "KO", int(bars["ts"][row["index"]]), float(row["target"]),
                   nan, nan, nan, float(bars["close"][row["index"]]), traded=True,
                   judged=float(bars["close"][row["index"]]))
        for i, row in enumerate(found)
    )  # fmt: skip
    strategy = LiveStrategy(
        "cross", "sma_cross", loaded.version_hash, PARAMS, ("KO",), Timeframe.MINUTE, 1.0, Sizing()
    )
    made = Session(
        START, START + 300 * MINUTE, 100_000.0, (strategy,), {Timeframe.MINUTE: {"KO": bars}},
        signals,
    )  # fmt: skip
    kernel = carried_out(made, MODELS)
    assert len(kernel) > 20
    return replace(made, signals=tuple(_carried(s, kernel.get(s.id)) for s in signals))


def _carried(signal: LiveSignal, made: Executed | None) -> LiveSignal:
    if made is None:  # nothing was held, nothing was wanted
        return signal
    return replace(
        signal, ordered=made.asked, filled=made.filled, price=made.price, filled_at=made.bar_ts
    )


def changed(session: Session, place: int, **fields: object) -> Session:
    """The session with one signal recorded otherwise."""
    signals = list(session.signals)
    signals[place] = replace(signals[place], **fields)  # type: ignore[arg-type]
    return replace(session, signals=tuple(signals))


def compared(session: Session, registry: Registry) -> Parity:
    return parity_of(session, registry, MODELS)


def causes(found: Parity, part: str) -> list[str]:
    return [each.cause for each in getattr(found, part).differences]


def test_a_session_that_went_as_replayed_is_the_same_throughout(
    session: Session, registry: Registry
) -> None:
    found = compared(session, registry)
    assert found.decisions.live == found.decisions.same == len(session.signals)
    assert found.orders.same == found.orders.compared
    assert found.fills.same == found.fills.compared > 20
    assert found.unexplained == 0
    assert "Decisions" in parity_page(found)


def test_a_decision_that_nothing_explains_is_named(session: Session, registry: Registry) -> None:
    late = len(session.signals) - 2
    found = compared(changed(session, late, target=0.25), registry)
    assert causes(found, "decisions") == ["unexplained"]
    assert found.decisions.differences[0].live == "target 0.25"
    assert found.unexplained == 1


def test_a_decision_on_another_bar_than_is_stored_is_due_to_data(
    session: Session, registry: Registry
) -> None:
    late = len(session.signals) - 2
    found = compared(changed(session, late, target=0.25, reference=1.0), registry)
    assert causes(found, "decisions") == ["data"]


def test_a_decision_near_a_hole_in_the_bars_is_due_to_data(
    session: Session, registry: Registry
) -> None:
    late = len(session.signals) - 2
    bars = session.bars[Timeframe.MINUTE]["KO"]
    at = int(np.searchsorted(bars["ts"], session.signals[late].bar_ts))
    holed = replace(session, bars={Timeframe.MINUTE: {"KO": np.delete(bars, at - 2)}})
    assert "data" in causes(compared(changed(holed, late, target=0.25), registry), "decisions")


def test_other_code_is_the_cause_where_the_file_has_changed(
    session: Session, registry: Registry
) -> None:
    other = replace(session.strategies[0], version_hash="other")
    found = compared(replace(changed(session, 5, target=0.25), strategies=(other,)), registry)
    assert causes(found, "decisions") == ["code"]
    assert "ran as other code" in found.notes[0]


def test_a_decision_stated_anew_after_a_restart_is_no_difference(
    session: Session, registry: Registry
) -> None:
    again = replace(session.signals[-1], id="again", bar_ts=session.signals[-1].bar_ts + MINUTE)
    found = compared(replace(session, signals=(*session.signals, again)), registry)
    assert found.decisions.restated == 1
    assert found.decisions.differences == ()


def test_what_was_denied_late_or_dear_is_told_apart(session: Session, registry: Registry) -> None:
    one = session.signals[4]
    denied = compared(changed(session, 4, ordered=0.0, filled=0.0, code="SELF_CROSSING"), registry)
    assert causes(denied, "orders") == ["limits: SELF_CROSSING"]
    moved = compared(changed(session, 4, ordered=one.ordered + 1, judged=one.judged + 1), registry)
    assert causes(moved, "orders") == ["latency"]
    richer = compared(changed(session, 4, ordered=one.ordered + 1), registry)
    assert causes(richer, "orders") == ["fill model"]
    dear = compared(changed(session, 4, price=one.price * 1.001), registry)
    assert causes(dear, "fills") == ["fill model"]
    expected = 10.0 if one.filled > 0 else -10.0
    off = dear.fills.off_bps
    assert off[np.abs(off) > 1e-6] == pytest.approx([expected], rel=1e-6)
    late = changed(session, 4, price=one.price * 1.001, filled_at=one.filled_at + MINUTE)
    assert causes(compared(late, registry), "fills") == ["latency"]
