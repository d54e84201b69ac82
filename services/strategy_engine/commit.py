"""One turn into the tables: states, signals and their messages in one transaction."""

from __future__ import annotations

from libs.common.contracts.messages import Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.strategy_engine.leases import Holdings
from services.strategy_engine.metrics import SIGNAL_LATENCY, SIGNALS, SIGNALS_REPEATED
from services.strategy_engine.ports import Book, Caused, Told
from services.strategy_engine.roster import saved_state
from services.strategy_engine.signals import signal_of
from services.strategy_engine.streams import Emission, Stream, Turn

_log = get_logger(__name__)


async def commit(turn: Turn, book: Book, holdings: Holdings, clock: Clock, ids: IdSource) -> None:
    """Store what the turn brought; counted once it is stored.

    Raises UnavailableError, LeaseLostError.
    """
    caused = [_caused(emission) for emission in turn.emissions]
    told = [Told(_fault(stream, clock), ids.new()) for stream in turn.faulted]
    states = [saved_state(stream) for stream in turn.moved.values()]
    touched = {strategy_id for strategy_id, _ in turn.moved}
    touched |= {stream.configuration.id for stream in turn.faulted}
    new = await book.save(states, caused, told, holdings.of(touched))
    SIGNALS_REPEATED.inc(len(caused) - new)
    now_ns = clock.now_ns()
    for item in caused:
        SIGNALS.labels(item.signal.strategy_id, item.signal.mode.value).inc()
        if item.received_ns:
            SIGNAL_LATENCY.observe(max(0.0, (now_ns - item.received_ns) / 1e9))
    for stream in turn.faulted:
        _log.error(
            "strategy_faulted",
            strategy_id=stream.configuration.id,
            symbol=stream.symbol,
            reason=stream.reason,
        )


def _caused(emission: Emission) -> Caused:
    arrival = emission.arrival
    return Caused(
        signal_of(emission), arrival.correlation_id, arrival.causation_id, arrival.received_ns
    )


def _fault(stream: Stream, clock: Clock) -> Notification:
    strategy_id = stream.configuration.id
    return Notification(
        level=Level.ERROR,
        title=f"Strategy {strategy_id} stopped on {stream.symbol}",
        message=stream.reason,
        fingerprint=f"strategy_fault:{strategy_id}:{stream.symbol}",
        ts=clock.now(),
        context={"strategy_id": strategy_id, "symbol": stream.symbol},
    )
