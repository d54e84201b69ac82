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


def filled(session: Session, long: bool) -> int:
    """The place of a signal that was bought, or sold, not the first."""
    return next(
        i for i, s in enumerate(session.signals) if i > 3 and s.filled * (1 if long else -1) > 0
    )


ORDERS = {
    "halted": {"ordered": 0.0, "filled": 0.0, "code": "TRADING_STATE"},
    "limits: SELF_CROSSING": {"ordered": 0.0, "filled": 0.0, "code": "SELF_CROSSING"},
    "latency": {"ordered": 1.0, "judged": 1.0},
    "rounding": {"ordered": 0.25},
    "equity": {"ordered": 1.0},
}


@pytest.mark.parametrize("cause", ORDERS)
def test_what_another_order_is_due_to_is_told(
    session: Session, registry: Registry, cause: str
) -> None:
    place = filled(session, long=True)
    one, fields = session.signals[place], dict(ORDERS[cause])
    if not fields.get("code"):  # so many more shares, at a price so much higher
        fields["ordered"] += one.ordered
        fields["filled"] = fields["ordered"]
    if "judged" in fields:
        fields["judged"] += one.judged
    found = compared(changed(session, place, **fields), registry)
    # What follows wishes the same and holds something else: an earlier difference.
    assert causes(found, "orders")[0] == cause
    assert found.orders.differences[0].bar_ts == one.bar_ts
    assert set(causes(found, "orders")[1:]) <= {"position", "rounding"}


def test_an_order_that_closes_less_than_the_kernel_had_is_due_to_the_position(
    session: Session, registry: Registry
) -> None:
    buy = filled(session, long=True)
    one, after = session.signals[buy], session.signals[buy + 1]
    less = changed(session, buy, ordered=one.ordered - 5, filled=one.filled - 5)
    less = changed(less, buy + 1, ordered=after.ordered + 5, filled=after.filled + 5)
    found = compared(less, registry)
    assert causes(found, "orders") == ["equity", "position"]


def test_an_order_that_nobody_judged_is_late(session: Session, registry: Registry) -> None:
    place = filled(session, long=True)
    never = changed(session, place, ordered=0.0, filled=0.0, judged=float("nan"))
    assert causes(compared(never, registry), "orders")[0] == "latency"


@pytest.mark.parametrize("long", [True, False])
def test_what_another_fill_is_due_to_is_told(
    session: Session, registry: Registry, long: bool
) -> None:
    place = filled(session, long=long)
    one = session.signals[place]
    worse = one.price * (1.001 if long else 0.999)
    better = one.price * (0.999 if long else 1.001)
    cases = {
        "fill model": {"price": worse},
        "price improvement": {"price": better},
        "latency": {"price": worse, "filled_at": one.filled_at + MINUTE},
        "partial fill": {"filled": one.filled / 2, "status": "canceled"},
        "broker: rejected": {"filled": 0.0, "price": float("nan"), "status": "rejected"},
        "broker: expired": {"filled": 0.0, "price": float("nan"), "status": "expired"},
        "unfilled": {"filled": 0.0, "price": float("nan"), "status": "working"},
    }
    for cause, fields in cases.items():
        found = compared(changed(session, place, **fields), registry)
        assert causes(found, "fills") == [cause]
        off = found.fills.off_bps[np.abs(found.fills.off_bps) > 1e-6]
        expected = {"fill model": [10.0], "latency": [10.0], "price improvement": [-10.0]}
        assert off == pytest.approx(expected.get(cause, []), rel=1e-6)


def test_what_live_filled_and_the_kernel_refused_is_the_fill_model(
    session: Session, registry: Registry
) -> None:
    poor = parity_of(session, registry, Models(cash=1.0))
    assert set(causes(poor, "fills")) == {"fill model"}
    assert {each.replay for each in poor.fills.differences} == {"nothing"}
