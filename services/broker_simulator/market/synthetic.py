"""An invented market: regimes of volatility, a common factor, jumps; endless and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from libs.common.domain.sessions import SessionCalendar
from services.broker_simulator.market.bridge import Density, stream
from services.broker_simulator.market.daily import DailyMarket, Floats, outline

FIRST = date(2015, 1, 2)
CALM, STORM = 0.006, 0.020
LEAVE_CALM, LEAVE_STORM = 0.02, 0.08
IDIOSYNCRATIC = 0.011
JUMP_PROBABILITY, JUMP_SIZE = 0.01, 0.05
DRIFT = 0.0003


def synthetic_market(
    seed: int, symbols: Sequence[str], density: Density, calendar: SessionCalendar
) -> DailyMarket:
    """Return a market of `symbols` from 2015 to the calendar's end.

    A day's log return is drift + beta x factor + own noise + rare jumps. The factor's volatility
    switches between a calm and a stormy regime (two-state Markov chain); betas lie between 0.6
    and 1.4, so symbols move together.
    """
    sessions = calendar.sessions_between(FIRST, calendar.sessions[-1].date)
    days = [session.date for session in sessions]
    factor = _factor(stream(seed, "", 1), len(days))
    series = {
        symbol: outline(seed, symbol, _closes(stream(seed, symbol, 1), factor))
        for symbol in symbols
    }
    return DailyMarket("synthetic", seed, days, series, density)


def _factor(rng: np.random.Generator, count: int) -> Floats:
    draws = rng.random(count)
    sigma = np.empty(count)
    stormy = False
    for i, value in enumerate(draws.tolist()):
        if value < (LEAVE_STORM if stormy else LEAVE_CALM):
            stormy = not stormy
        sigma[i] = STORM if stormy else CALM
    return sigma * rng.standard_normal(count)


def _closes(rng: np.random.Generator, factor: Floats) -> Floats:
    count = factor.size
    start = float(np.exp(rng.uniform(np.log(20.0), np.log(300.0))))
    beta = rng.uniform(0.6, 1.4)
    jumps = (rng.random(count) < JUMP_PROBABILITY) * JUMP_SIZE * rng.standard_normal(count)
    noise = IDIOSYNCRATIC * rng.standard_normal(count)
    closes: Floats = start * np.exp(np.cumsum(DRIFT + beta * factor + noise + jumps))
    return np.maximum(closes, 1.0)
