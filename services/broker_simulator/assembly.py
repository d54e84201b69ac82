"""Putting a broker together: market, engine, exchange, clock, what the state file remembers."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from libs.common.domain.sessions import SessionCalendar
from libs.common.kernel.clock import NS_PER_SECOND, parse_ns, to_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.ids import IdSource
from services.broker_simulator.broker import Broker
from services.broker_simulator.clock import Hours, MarketTime
from services.broker_simulator.data_stream import DataStream
from services.broker_simulator.engine.account import FeeSchedule
from services.broker_simulator.engine.engine import Engine
from services.broker_simulator.engine.model import Account
from services.broker_simulator.engine.registry import Terms
from services.broker_simulator.exchange import Exchange
from services.broker_simulator.fault_request import FaultRequest, read_faults
from services.broker_simulator.faults import Faults
from services.broker_simulator.market.archive import Archive
from services.broker_simulator.market.feed import Feed
from services.broker_simulator.market.source import first_day
from services.broker_simulator.market.tape import Market
from services.broker_simulator.settings import SimulatorSettings
from services.broker_simulator.store import Snapshot, StateFile


def assemble(
    settings: SimulatorSettings,
    calendar: SessionCalendar,
    market: Market,
    store: StateFile,
    snapshot: Snapshot | None,
    ids: IdSource,
    wall_ns: Callable[[], int],
) -> Broker:
    """Return the broker as the state file left it, or a new one. Raises InvalidInputError."""
    engine = Engine(calendar, market.assets, ids, _terms(settings))
    start = snapshot.now_ns if snapshot else start_ns(settings, calendar, market, wall_ns())
    clock_start = start + _lost_ns(settings) if snapshot else start
    if settings.simulator_start == "now":
        clock_start = max(clock_start, wall_ns())
    faults = Faults(settings.simulator_seed)
    credentials = _credentials(settings)

    def login(key: str, secret: str) -> Account:
        return broker.login(key, secret)

    data = DataStream(
        login,
        faults,
        buffer_bytes=settings.simulator_client_buffer_bytes,
        connections_max=settings.simulator_connections_max,
        symbols_max=settings.simulator_symbols_max,
    )
    _restore(engine, snapshot, Archive(market, calendar), start)
    exchange = Exchange(engine, Feed(market, calendar), calendar, data, start)
    broker = Broker(
        engine=engine,
        exchange=exchange,
        clock=_clock(settings, _traded(market, calendar), clock_start),
        store=store,
        faults=faults,
        data=data,
        secrets_by_key={},
        tick_s=settings.simulator_tick_s,
        state_s=settings.simulator_state_s,
        buffer_bytes=settings.simulator_client_buffer_bytes,
    )
    if settings.simulator_faults is not None:
        broker.switches.on(_fault_plan(settings.simulator_faults))
    for key, (secret, cash) in credentials.items():
        broker.open_account(key, secret, cash, settings.simulator_multiplier)
    return broker


def _fault_plan(path: Path) -> FaultRequest:
    """Read the faults that a run begins with: the body of `POST /sim/faults` in a file."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"TRADEWIND_SIMULATOR_FAULTS: {path}: {error.strerror}") from error
    return read_faults(text, f"TRADEWIND_SIMULATOR_FAULTS: {path}")


def _restore(engine: Engine, snapshot: Snapshot | None, archive: Archive, start: int) -> None:
    registry = engine.registry
    if snapshot is None:
        for symbol, book in registry.books.items():
            book.previous_close = archive.previous_close(symbol, start)
        return
    for account in snapshot.accounts:
        registry.add_account(account)
    for symbol, mark in snapshot.marks.items():
        book = registry.books[symbol]
        bid, ask, bid_size, ask_size, last, previous_close, quoted_at = mark
        book.set_quote(quoted_at, bid, ask, bid_size, ask_size)
        book.last, book.previous_close, book.opened_on = last, previous_close, quoted_at
    registry.executions.extend(snapshot.executions)
    registry.activities.extend(snapshot.activities)
    registry.sequence = snapshot.sequence
    engine.restore(snapshot.orders)


def _terms(settings: SimulatorSettings) -> Terms:
    regulated = settings.simulator_regulatory_fees
    fees = FeeSchedule(
        commission_per_share=settings.simulator_commission_per_share,
        commission_bps=settings.simulator_commission_bps,
        sec_rate=settings.simulator_sec_rate if regulated else Decimal(0),
        taf_per_share=settings.simulator_taf_per_share if regulated else Decimal(0),
        taf_max=settings.simulator_taf_max if regulated else Decimal(0),
    )
    return Terms(
        seed=settings.simulator_seed,
        depth_levels=settings.simulator_depth_levels,
        fees=fees,
        wash_trade_check=settings.simulator_wash_trade_check,
    )


def open_days(market: Market, calendar: SessionCalendar) -> SessionCalendar:
    """Return the calendar without the days inside the market's span that it has no prices for.

    A recording with gaps is an exchange that did not open on those days.
    """
    span = range(market.first.toordinal(), market.last.toordinal() + 1)
    return SessionCalendar(
        [s for s in calendar.sessions if s.date.toordinal() not in span or market.has(s.date)]
    )


def _traded(market: Market, calendar: SessionCalendar) -> SessionCalendar:
    """Return the sessions that the market has prices for: the clock passes over all others."""
    return SessionCalendar([s for s in calendar.sessions if market.has(s.date)])


def _clock(settings: SimulatorSettings, calendar: SessionCalendar, start: int) -> MarketTime:
    real = settings.simulator_start == "now"
    return MarketTime(
        calendar,
        start,
        1.0 if real else settings.simulator_factor,
        hours=Hours.ALL if real else settings.simulator_hours,
        pause_s=settings.simulator_pause_s,
        lead_in=timedelta(seconds=settings.simulator_lead_in_s),
        lead_out=timedelta(seconds=settings.simulator_lead_out_s),
        monotonic_ns=time.monotonic_ns,
    )


def _lost_ns(settings: SimulatorSettings) -> int:
    """Return how much market time may have passed after the last save before a crash.

    The clock resumes behind it and the exchange catches up: time never runs backward for others.
    """
    return int(settings.simulator_state_s * settings.simulator_factor * NS_PER_SECOND)


def start_ns(
    settings: SimulatorSettings, calendar: SessionCalendar, market: Market, wall_ns: int
) -> int:
    """Return the market time at which a new state begins. Raises InvalidInputError."""
    text = settings.simulator_start
    if text == "now":
        return wall_ns
    if "T" in text:
        return parse_ns(text, "TRADEWIND_SIMULATOR_START")
    day = first_day(settings, market)
    if text:
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            raise InvalidInputError(f"TRADEWIND_SIMULATOR_START: {text!r}: {error}") from error
    if not market.first <= day <= market.last:
        raise InvalidInputError(
            f"TRADEWIND_SIMULATOR_START: {day} lies outside the market's days "
            f"{market.first} to {market.last}"
        )
    sessions = calendar.sessions_between(day, day + timedelta(days=14))
    return to_ns(sessions[0].open - timedelta(seconds=settings.simulator_lead_in_s))


def _credentials(settings: SimulatorSettings) -> dict[str, tuple[str, Decimal]]:
    """Return secret and cash by key: the broker's own pair, and `key:secret:cash` further ones."""
    pairs = {
        settings.broker_key.get_secret_value(): (
            settings.broker_secret.get_secret_value(),
            settings.simulator_cash,
        )
    }
    for text in settings.simulator_accounts:
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidInputError(
                "TRADEWIND_SIMULATOR_ACCOUNTS: expected key:secret or key:secret:cash"
            )
        cash = Decimal(parts[2]) if len(parts) == 3 else settings.simulator_cash
        pairs[parts[0]] = (parts[1], cash)
    return pairs
