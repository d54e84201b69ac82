"""Bootstrap, Monte Carlo, permutation: what the papers prove of them holds."""

from __future__ import annotations

import numpy as np
import pytest
from skfolio.datasets import load_sp500_dataset, load_sp500_index

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.simulation.records import BAR
from libs.common.quant.validation import (
    drawn_trades,
    permuted_bars,
    resampled_paths,
    rule_significance,
    sharpe_difference,
    shuffled_trades,
    stationary_indices,
    timing_significance,
)


def rng(seed: int = 11) -> np.random.Generator:
    return np.random.default_rng(seed)


def real_returns(symbol: str = "JPM", n: int = 500) -> np.ndarray:
    return load_sp500_dataset()[symbol].pct_change().dropna().to_numpy()[-n:]


def bars_of(close: np.ndarray, seed: int = 3) -> np.ndarray:
    bars = np.zeros(len(close), BAR)
    noise = rng(seed).uniform(0.999, 1.001, len(close))
    bars["ts"] = np.arange(len(close)) * 86_400_000_000_000
    bars["open"] = np.concatenate([close[:1], close[:-1]]) * noise
    bars["close"] = close
    bars["high"] = np.maximum(bars["open"], close) * 1.002
    bars["low"] = np.minimum(bars["open"], close) * 0.998
    bars["volume"] = np.arange(1.0, len(close) + 1)
    return bars


def test_blocks_have_the_mean_length_asked_for_and_wrap_around() -> None:
    at = stationary_indices(200, 2_000, 8.0, rng())
    follows = (at[:, 1:] == (at[:, :-1] + 1) % 200).mean()
    # A block ends with probability 1/8, and the next begins right after it by chance 1/200.
    assert follows == pytest.approx(7 / 8 + 1 / 8 / 200, abs=2e-3)
    counts = np.bincount(at.ravel(), minlength=200) / at.size
    assert counts == pytest.approx(np.full(200, 1 / 200), rel=0.15)


def test_variance_of_the_mean_is_that_of_politis_and_romano() -> None:
    # Lemma 1 of the paper: an exact sum over the circular autocovariances.
    x = real_returns(n=120) + np.repeat(rng().normal(0.0, 0.01, 12), 10)
    n, p = len(x), 1 / 6.0
    centred = x - x.mean()
    circular = np.array([np.mean(centred * np.roll(centred, -lag)) for lag in range(n)])
    lags = np.arange(1, n)
    exact = (circular[0] + 2 * np.sum((1 - lags / n) * (1 - p) ** lags * circular[1:])) / n
    drawn = x[stationary_indices(n, 40_000, 6.0, rng())].mean(axis=1)
    assert drawn.var() == pytest.approx(exact, rel=0.03)
    assert drawn.mean() == pytest.approx(x.mean(), abs=4 * np.sqrt(exact / 40_000))


def test_the_same_seed_gives_the_same_paths() -> None:
    x = real_returns()
    one, two = (resampled_paths(x, 50, rng(5)) for _ in range(2))
    assert one.final.tolist() == two.final.tolist()
    assert one.drawdown.tolist() == two.drawdown.tolist()


def test_shuffled_trades_end_alike_and_fall_differently() -> None:
    pnl = np.array([100.0, -50.0, 30.0, -80.0, 60.0])
    found = shuffled_trades(pnl, 1_000.0, 500, rng())
    assert found.final == pytest.approx(np.full(500, 1_060.0))
    # The worst order has both losses in a row, before or after the gains; the best has them apart.
    assert found.drawdown.min() == pytest.approx(-130.0 / 1_000.0)
    assert found.drawdown.max() == pytest.approx(-80.0 / 1_190.0, abs=0.02)
    assert list(found.quantiles()) == [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]


def test_compounded_trades_end_alike_whatever_their_order() -> None:
    shares = np.array([0.5, -0.2, 0.1, -0.3])
    found = shuffled_trades(shares, 1_000.0, 300, rng(), compounded=True)
    assert found.final == pytest.approx(np.full(300, 1_000.0 * 1.5 * 0.8 * 1.1 * 0.7))
    assert found.drawdown.min() == pytest.approx(0.8 * 0.7 - 1.0)
    assert found.drawdown.max() == pytest.approx(-0.3)


def test_drawn_trades_have_the_mean_and_spread_of_the_bootstrap() -> None:
    pnl = real_returns() * 10_000.0
    found = drawn_trades(pnl, 1e6, 4_000, rng())
    assert found.final.mean() == pytest.approx(1e6 + pnl.sum(), abs=4 * found.final.std() / 63)
    assert found.final.std() == pytest.approx(pnl.std() * np.sqrt(len(pnl)), rel=0.05)


def test_ruin_is_the_deepest_fall_there_is() -> None:
    found = shuffled_trades(np.array([-600.0, -600.0]), 1_000.0, 3, rng())
    assert found.drawdown.tolist() == [-1.0, -1.0, -1.0]


def test_resampled_paths_hold_the_history_they_come_from() -> None:
    x = real_returns("XOM", 1_000)
    found = resampled_paths(x, 2_000, rng())
    low, high = np.quantile(found.final, [0.05, 0.95])
    assert low < np.prod(1 + x) < high
    # One block that never ends is the history, rotated: it ends where history did.
    whole = resampled_paths(x, 5, rng(), block=1e12)
    assert whole.final == pytest.approx(np.full(5, np.prod(1 + x)))


def test_rotations_are_scored_as_if_rotated_one_by_one() -> None:
    held, moved = rng(1).choice([-1.0, 0.0, 1.0], 50), real_returns(n=50)
    found = timing_significance(held, moved, 400, rng(2))
    each = {float(np.mean(held * np.roll(moved - moved.mean(), -k))) for k in range(1, 50)}
    assert all(min(abs(s - e) for e in each) < 1e-12 for s in found.permuted[:40])
    better = sum(s >= found.score for s in found.permuted)
    assert found.p_value == (1 + better) / 401


def test_timing_that_knew_is_significant_and_timing_that_did_not_is_uniform() -> None:
    moved = real_returns("XOM", 1_000)
    knew = timing_significance(np.sign(moved), moved, 999, rng())
    assert knew.p_value == 0.001
    chance = [
        timing_significance(
            np.repeat(rng(k).choice([0.0, 1.0], 100), 10), moved, 199, rng(k)
        ).p_value
        for k in range(200)
    ]
    assert np.mean(np.array(chance) <= 0.1) == pytest.approx(0.1, abs=0.06)


def test_always_long_in_a_rising_market_is_no_timing() -> None:
    moved = np.abs(real_returns()) + 0.001
    assert timing_significance(np.ones(500), moved, 99, rng()).p_value == 1.0


def test_permuted_bars_keep_ends_moves_and_order_within_a_bar() -> None:
    bars = bars_of(load_sp500_dataset()["AAPL"].to_numpy(float)[-300:])
    changed = permuted_bars(bars, rng(), keep=20)
    assert changed[:21].tolist() == bars[:21].tolist()
    assert changed["close"][-1] == pytest.approx(bars["close"][-1], rel=1e-9)
    assert changed["ts"].tolist() == bars["ts"].tolist()
    assert not np.allclose(changed["close"], bars["close"])

    def inner(b: np.ndarray) -> np.ndarray:
        return np.sort(np.log(b["close"][21:] / b["open"][21:]))

    def gaps(b: np.ndarray) -> np.ndarray:
        return np.sort(np.log(b["open"][21:] / b["close"][20:-1]))

    np.testing.assert_allclose(inner(changed), inner(bars), atol=1e-12)
    np.testing.assert_allclose(gaps(changed), gaps(bars), atol=1e-12)
    assert (changed["high"] >= np.maximum(changed["open"], changed["close"])).all()
    assert (changed["low"] <= np.minimum(changed["open"], changed["close"])).all()


def test_a_rule_that_fits_the_order_of_bars_is_found_significant() -> None:
    # Ten days up, ten days down: following yesterday earns here and nowhere else.
    steps = np.tile(np.repeat([0.01, -0.01], 10), 12)
    bars = bars_of(100.0 * np.exp(np.cumsum(steps)))

    def follow(b: np.ndarray) -> float:
        moves = np.diff(np.log(b["close"]))
        return float(np.sum(np.sign(moves[:-1]) * moves[1:]))

    assert rule_significance(bars, follow, 99, rng()).p_value == 0.01


def test_better_than_the_index_or_only_different() -> None:
    index = load_sp500_index().iloc[:, 0].pct_change().dropna().to_numpy()[-1_500:]
    surely = sharpe_difference(index + 0.002, index, 500, rng())
    assert surely.p_value == pytest.approx(1 / 501)
    assert surely.low > 0.0
    hardly = sharpe_difference(index + rng().normal(0.0, 0.001, 1_500), index, 500, rng())
    assert hardly.p_value > 0.05
    assert hardly.low < hardly.difference < hardly.high


def test_bad_input_is_named() -> None:
    good = real_returns()
    with pytest.raises(InvalidInputError, match="trades: needs finite"):
        shuffled_trades(np.array([]), 1.0, 1, rng())
    with pytest.raises(InvalidInputError, match="cash: must be above 0"):
        drawn_trades(good, 0.0, 1, rng())
    with pytest.raises(InvalidInputError, match="returns: needs finite"):
        resampled_paths(np.array([0.1, np.nan]), 1, rng())
    with pytest.raises(InvalidInputError, match="block of at least 1"):
        stationary_indices(5, 1, 0.5, rng())
    with pytest.raises(InvalidInputError, match="3 for 500 returns"):
        timing_significance(np.ones(3), good, 9, rng())
    with pytest.raises(InvalidInputError, match="every price must be above 0"):
        permuted_bars(np.zeros(5, BAR), rng())
    with pytest.raises(InvalidInputError, match="at least 2"):
        sharpe_difference(good, good[1:], 9, rng())
