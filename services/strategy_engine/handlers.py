"""What the engine does with a message or a command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from libs.common.contracts.channels import MARKET_DATA, Channel
from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import MarketData
from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.logging import correlation_id_var, get_logger
from libs.common.strategy.parameters import Value
from services.strategy_engine.bars import Arrival, live_record
from services.strategy_engine.candidate import Candidate
from services.strategy_engine.configuration import Change, NewStrategy
from services.strategy_engine.configurator import Configurator
from services.strategy_engine.cursor import read_cursor, write_cursor
from services.strategy_engine.engine import Engine
from services.strategy_engine.metrics import BARS_IGNORED
from services.strategy_engine.ports import Book, Leases, Place, Signals
from services.strategy_engine.roster import Member
from services.strategy_engine.swap import Swap
from services.strategy_engine.swapper import Swapper
from services.strategy_engine.views import elsewhere_view, member_view, signal_view

_log = get_logger(__name__)


async def on_market_data(engine: Engine, envelope: Envelope[MarketData]) -> None:
    """Hand a batch's closed bars to the feeds that want them."""
    batch = envelope.payload
    arrivals: dict[str, list[Arrival]] = defaultdict(list)
    for bar in batch.bars:
        try:
            record = live_record(bar)
        except InvalidInputError as error:
            BARS_IGNORED.labels("refused").inc()
            _log.warning("bar_refused", symbol=batch.symbol, reason=str(error))
            continue
        arrivals[bar.timeframe].append(
            Arrival(record, envelope.correlation_id, envelope.id, batch.ts_init)
        )
    for timeframe, bars in arrivals.items():
        engine.receive(batch.symbol, timeframe, bars)


def check_params(engine: Engine, name: str, params: Mapping[str, object]) -> dict[str, Value]:
    """Return the parameters of strategy `name` with defaults filled in.

    Raises NotFoundError for an unknown name, InvalidParamsError that lists every problem.
    """
    return engine.roster.registry.get(name).definition.parse(params)


async def add_strategy(configurator: Configurator, new: NewStrategy, actor: str) -> Member:
    """Run one more strategy, as part of the present request's story."""
    return await configurator.add(new, correlation_id_var.get(), actor=actor)


async def change_strategy(
    configurator: Configurator, strategy_id: str, change: Change, actor: str
) -> Member:
    """Run a strategy otherwise than before, as part of the present request's story."""
    return await configurator.change(strategy_id, change, correlation_id_var.get(), actor=actor)


async def list_strategies(engine: Engine, book: Book, leases: Leases) -> list[dict[str, Any]]:
    """Return all strategies by id, those that run here and those that run elsewhere."""
    here = engine.roster.members
    views = {
        strategy_id: {**member_view(member, engine.collected), "replica": engine.replica}
        for strategy_id, member in here.items()
    }
    held_by = await leases.leases()
    if len(held_by) > len(here):
        states = await book.states()
        for configuration in await book.configurations():
            if configuration.id not in here:
                lease = held_by.get(configuration.id)
                views[configuration.id] = elsewhere_view(configuration, lease, states)
    return [view for _, view in sorted(views.items())]


async def swap_strategy(swapper: Swapper, strategy_id: str, wish: Swap, actor: str) -> Candidate:
    """Exchange a strategy's code or parameters, as part of the present request's story."""
    return await swapper.swap(strategy_id, wish, correlation_id_var.get(), actor)


async def list_signals(
    signals: Signals, strategy_id: str | None, symbol: str | None, after: str | None, limit: int
) -> dict[str, Any]:
    """Return one page of signals and the cursor of the next. Raises InvalidInputError."""
    place = read_cursor(after) if after is not None else None
    rows = await signals.list(strategy_id, symbol, place, limit + 1)
    shown = rows[:limit]
    more = len(rows) > limit
    last = Place(shown[-1].created_at, shown[-1].signal.signal_id) if more else None
    return {
        "items": [signal_view(row) for row in shown],
        "next": write_cursor(last) if last else None,
    }


HANDLERS: Final[Mapping[Channel, Callable[[Engine, Envelope[Any]], Awaitable[None]]]] = {
    MARKET_DATA: on_market_data,
}
