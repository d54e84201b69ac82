"""How lucky the order was: the trades shuffled, the trades and the paths drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.kernel.errors import InvalidInputError
from libs.common.quant.metrics.measure import Floats
from libs.common.quant.validation.bootstrap import bootstrap_paths

LEVELS: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_CELLS_MAX: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What might have been, one entry a path: `final` money (or growth), `drawdown` the deepest,
    as a return (negative)."""

    final: Floats
    drawdown: Floats

    def quantiles(self, levels: tuple[float, ...] = LEVELS) -> dict[float, tuple[float, float]]:
        """Return level -> (final, drawdown)."""
        finals, falls = np.quantile(self.final, levels), np.quantile(self.drawdown, levels)
        return {q: (float(a), float(b)) for q, a, b in zip(levels, finals, falls, strict=True)}


def _checked(values: Floats, paths: int, what: str) -> Floats:
    values = np.asarray(values, np.float64)
    if len(values) == 0 or not np.isfinite(values).all() or paths < 1:
        raise InvalidInputError(f"{what}: needs finite values and at least one path")
    return values


def _deepest(curves: Floats) -> Floats:
    """Return the deepest drawdown of each row; -1 at most where money runs out."""
    peaks = np.maximum.accumulate(curves, axis=1)
    with np.errstate(all="ignore"):
        falls: Floats = (curves / peaks - 1.0).min(axis=1)
    return np.maximum(falls, -1.0)


def _from_trades(drawn: Floats, cash: float, *, compounded: bool) -> tuple[Floats, Floats]:
    begin = np.full((len(drawn), 1), cash)
    if compounded:
        curves = np.concatenate([begin, 1.0 + drawn], axis=1).cumprod(axis=1)
    else:
        curves = np.concatenate([begin, drawn], axis=1).cumsum(axis=1)
    return curves[:, -1], _deepest(curves)


def shuffled_trades(
    pnl: Floats,
    cash: float,
    paths: int,
    generator: np.random.Generator,
    *,
    compounded: bool = False,
) -> Outcomes:
    """Return what the same trades had given in other orders, from `cash`.

    `pnl` is money, as of positions of one size; if `compounded`, each trade's profit as a share of
    the equity it was entered with: right where positions grow with the account, whose last trades
    would weigh too much in money. The final money is the same in all orders; the drawdowns show how
    much of a smooth curve was the order. Raises InvalidInputError without trades, with a NaN, or
    cash not above 0.

    Source: Pardo, The Evaluation and Optimization of Trading Strategies (2008); K. Davey, Building
    Winning Algorithmic Trading Systems (2014).
    """
    return _trades(pnl, cash, paths, generator, replace=False, compounded=compounded)


def drawn_trades(
    pnl: Floats,
    cash: float,
    paths: int,
    generator: np.random.Generator,
    *,
    compounded: bool = False,
) -> Outcomes:
    """Return what as many trades drawn from these, with replacement, had given, from `cash`.

    Arguments as for `shuffled_trades`.

    Source: B. Efron, Bootstrap Methods, Annals of Statistics 7 (1979), on trades as Davey (2014).
    """
    return _trades(pnl, cash, paths, generator, replace=True, compounded=compounded)


def _trades(
    pnl: Floats,
    cash: float,
    paths: int,
    generator: np.random.Generator,
    *,
    replace: bool,
    compounded: bool,
) -> Outcomes:
    pnl = _checked(pnl, paths, "trades")
    if not cash > 0.0:
        raise InvalidInputError(f"cash: must be above 0, got {cash}")
    chunk = max(1, _CELLS_MAX // len(pnl))
    finals, falls = [], []
    for begin in range(0, paths, chunk):
        count = min(chunk, paths - begin)
        if replace:
            drawn = pnl[generator.integers(0, len(pnl), (count, len(pnl)))]
        else:
            drawn = generator.permuted(np.tile(pnl, (count, 1)), axis=1)
        final, fall = _from_trades(drawn, cash, compounded=compounded)
        finals.append(final)
        falls.append(fall)
    return Outcomes(np.concatenate(finals), np.concatenate(falls))


def resampled_paths(
    returns: Floats, paths: int, generator: np.random.Generator, block: float | None = None
) -> Outcomes:
    """Return growth (1.0: nothing earned) and drawdown of histories of blocks of these returns.

    The stationary bootstrap keeps what serial dependence fits into a block of mean length `block`
    (None: n^(1/3)). Raises InvalidInputError without returns or with a NaN.

    Source: Politis and Romano (1994).
    """
    returns = _checked(returns, paths, "returns")
    chunk = max(1, min(256, _CELLS_MAX // len(returns)))
    finals, falls = [], []
    for part in bootstrap_paths(returns, paths, generator, block, chunk):
        growth = np.concatenate([np.ones((len(part), 1)), 1.0 + part], axis=1)
        curves = np.cumprod(growth, axis=1)
        finals.append(curves[:, -1])
        falls.append(_deepest(curves))
    return Outcomes(np.concatenate(finals), np.concatenate(falls))
