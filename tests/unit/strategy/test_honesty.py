"""The look-ahead and warm-up checks find planted cheaters and let honest strategies go."""

from __future__ import annotations

import numpy as np
import pytest

from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy.definition import Definition
from libs.common.strategy.errors import InvalidParamsError
from libs.common.strategy.honesty import LookaheadReport, check_lookahead, check_warmup
from strategies.rsi_reversion import RsiReversion
from strategies.sma_cross import SmaCross
from tests.support import cheaters

AAPL, JPM = cheaters.AAPL, cheaters.sample_bars("JPM")
ONE, TWO = {"AAPL": AAPL}, {"AAPL": AAPL, "JPM": JPM}


def looked(
    definition: Definition,
    params: dict[str, object] | None = None,
    universe: bool = False,
    history: dict[str, np.ndarray] | None = None,
) -> LookaheadReport:
    history = history or (TWO if universe else ONE)
    return check_lookahead(definition, params or {}, history, np.random.default_rng(3), cuts=10)


def holed(seed: int) -> dict[str, np.ndarray]:
    """Two symbols that trade on other days: one begins late, the other ends early."""
    keep = np.random.default_rng(seed).random((2, len(AAPL))) > 0.2
    keep[0, :60] = keep[1, -50:] = False
    return {"AAPL": AAPL[keep[0]].copy(), "JPM": JPM[keep[1]].copy()}


def failed(report: LookaheadReport) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


@pytest.mark.parametrize(
    ("definition", "universe"),
    [
        (SmaCross.definition, True),
        (RsiReversion.definition, True),
        (cheaters.HonestPython.definition, True),
        (cheaters.HonestPair.definition, True),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_honest_strategies_are_clean(definition: Definition, universe: bool) -> None:
    report = looked(definition, universe=universe)
    assert failed(report) == set()
    assert report.verdict == "clean"
    assert len(report.checks) == 8


@pytest.mark.parametrize("seed", range(4))
def test_holes_in_a_universe_raise_no_false_alarm_and_hide_no_cheater(seed: int) -> None:
    history = holed(seed)
    assert failed(looked(cheaters.HonestPair.definition, history=history)) == set()
    # Its table goes by the bars' number: the holes move it, but the prices in it are found.
    assert looked(cheaters.PeekUniverse.definition, history=history).verdict == "looks ahead"


def test_a_strategy_that_looks_past_its_window_differs_on_truncated_bars() -> None:
    report = looked(cheaters.PeekBase.definition)
    assert report.verdict == "looks ahead"
    assert {"truncated", "other future", "one by one"} <= failed(report)
    (check,) = [c for c in report.checks if c.name == "truncated"]
    found = check.difference
    assert found is not None
    # On the last bar before the cut it saw the next close, which is gone.
    assert (found.symbol, found.field) == ("AAPL", "target")
    assert (found.one, found.other) == (1.0, 0.0)
    assert AAPL["close"][found.bar + 1] > AAPL["close"][found.bar]
    assert found.ts == AAPL["ts"][found.bar]
    assert "AAPL bar" in check.detail
    assert "target 1, not 0" in check.detail


@pytest.mark.parametrize(
    ("definition", "named"),
    [
        (cheaters.PeekArray.definition, "CLOSES (ndarray of 400 values)"),
        (cheaters.PeekTable.definition, "TABLE (Series of 400 values)"),
        (cheaters.PeekFile.definition, "self.known (dict of 400 values)"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_prices_in_the_code_are_found_by_name(definition: Definition, named: str) -> None:
    report = looked(definition)
    assert report.verdict == "looks ahead"
    (check,) = [c for c in report.checks if c.name == "data in the code"]
    assert check.detail == f"{named} holds the close of the bars of AAPL"
    assert {"nothing but bars"} <= failed(report)


def test_a_file_that_is_read_is_named() -> None:
    (check,) = [
        c for c in looked(cheaters.PeekFile.definition).checks if c.name == "nothing but bars"
    ]
    assert "open() (called in PeekFile.prepare)" in check.detail


def test_a_universe_strategy_with_an_array_is_found_and_ignores_the_prices() -> None:
    report = looked(cheaters.PeekUniverse.definition, universe=True)
    assert report.verdict == "looks ahead"
    assert {"data in the code", "other prices"} <= failed(report)


def test_a_strategy_that_remembers_from_run_to_run_is_found() -> None:
    cheaters.BEFORE.clear()
    report = looked(cheaters.PeekMemory.definition)
    assert report.verdict == "looks ahead"
    assert {"truncated", "repeated"} <= failed(report)


def test_a_strategy_by_the_calendar_is_doubtful_only() -> None:
    report = looked(cheaters.TurnOfMonth.definition)
    assert report.verdict == "doubtful"
    assert failed(report) == {"other dates", "other prices"}


def test_bars_are_left_as_they_were() -> None:
    before = AAPL.copy()
    looked(SmaCross.definition)
    assert before.tobytes() == AAPL.tobytes()


def test_bad_requests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="needs 20 times of bars, got 5"):
        check_lookahead(SmaCross.definition, {}, {"A": AAPL[:5]}, np.random.default_rng(1))
    with pytest.raises(InvalidInputError, match="got 0"):
        check_lookahead(SmaCross.definition, {}, {}, np.random.default_rng(1))
    with pytest.raises(InvalidParamsError, match="did you mean fast"):
        looked(SmaCross.definition, {"fats": 3})
    with pytest.raises(InvalidInputError, match="wants 400 bars"):
        check_warmup(SmaCross.definition, {"slow": 400}, ONE)


def test_an_average_of_a_window_agrees_within_it() -> None:
    report = check_warmup(SmaCross.definition, {"fast": 5, "slow": 30}, TWO)
    assert report.declared == 30
    assert report.enough
    assert report.needed is not None
    assert report.needed <= 30
    assert report.first is None
    assert {start.symbol for start in report.starts} == {"AAPL", "JPM"}
    assert all(start.bar > 0 for start in report.starts)


def test_a_recursive_average_needs_what_arithmetic_says() -> None:
    window, tolerance = 8, 1e-6
    report = check_warmup(
        cheaters.SlowStop.definition, {"window": window, "declared": 8}, ONE, tolerance=tolerance
    )
    assert not report.enough
    for start in report.starts:
        # The difference of the seeds shrinks by 1 - 2 / (window + 1) a bar.
        whole, part = (emas(AAPL["close"][begin:], window) for begin in (0, start.bar))
        apart = np.abs(part - whole[start.bar :]) > tolerance * np.abs(part)
        apart[: window - 1] = True
        assert start.agrees_after == np.flatnonzero(apart)[-1] + 1
        assert start.difference is not None
        assert (start.difference.field, start.difference.bar) == ("stop", start.bar + 8)
    assert report.needed == max(s.agrees_after or 0 for s in report.starts)
    declared = {"window": window, "declared": report.needed}
    assert check_warmup(cheaters.SlowStop.definition, declared, ONE).enough


def emas(closes: np.ndarray, window: int) -> np.ndarray:
    """Exponential averages as the author defines them: seeded with the first window's mean."""
    values = np.full(len(closes), np.nan)
    values[window - 1] = closes[:window].mean()
    weight = 2.0 / (window + 1)
    for i in range(window, len(closes)):
        values[i] = values[i - 1] + weight * (closes[i] - values[i - 1])
    return values


def test_a_strategy_that_never_forgets_is_named_with_its_first_bar() -> None:
    report = check_warmup(cheaters.NeverForgets.definition, {}, ONE)
    assert report.needed is None
    assert not report.enough
    found = report.first
    assert found is not None
    assert found.field == "target"
    assert {found.one, found.other} == {0.0, 1.0}
    assert sum(start.late for start in report.starts) > 100


def test_a_position_in_an_array_of_the_code_never_agrees() -> None:
    assert check_warmup(cheaters.PeekArray.definition, {}, ONE).needed is None
