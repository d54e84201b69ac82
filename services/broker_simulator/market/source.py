"""From settings to a market."""

from __future__ import annotations

from datetime import date
from typing import assert_never

from libs.common.domain.sessions import SessionCalendar
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.clock import Hours
from services.broker_simulator.market.bridge import Density
from services.broker_simulator.market.daily import history_market
from services.broker_simulator.market.replay import replay_market
from services.broker_simulator.market.scripted import ScriptedMarket
from services.broker_simulator.market.synthetic import synthetic_market
from services.broker_simulator.market.tape import Market
from services.broker_simulator.settings import DEFAULT_START, MarketKind, SimulatorSettings


def build_market(settings: SimulatorSettings, calendar: SessionCalendar) -> Market:
    """Return the market that the settings name. Raises InvalidInputError."""
    extended = settings.simulator_hours is not Hours.REGULAR
    density = Density(
        quotes=settings.simulator_quotes_per_minute,
        trades=settings.simulator_trades_per_minute,
        extended_quotes=1.0 if extended else 0.0,
    )
    seed, symbols = settings.simulator_seed, settings.simulator_symbols
    match settings.simulator_market:
        case MarketKind.HISTORY:
            return history_market(seed, symbols, density, calendar)
        case MarketKind.SYNTHETIC:
            return synthetic_market(seed, symbols or settings.symbols, density, calendar)
        case MarketKind.REPLAY:
            if not settings.simulator_file:
                raise InvalidInputError("market replay needs TRADEWIND_SIMULATOR_FILE")
            return replay_market(settings.simulator_file, symbols, calendar)
        case MarketKind.SCRIPTED:
            last = calendar.sessions[-1].date
            return ScriptedMarket(symbols or settings.symbols, calendar.sessions[0].date, last)
        case _:
            assert_never(settings.simulator_market)


def first_day(settings: SimulatorSettings, market: Market) -> date:
    """Return the day to begin with where none is given."""
    if settings.simulator_market is MarketKind.REPLAY:
        return market.first
    return min(max(DEFAULT_START, market.first), market.last)
