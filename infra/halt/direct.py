"""The stand-alone halt: cancel, close, and ask the broker until it says that it is so."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from infra.halt.broker import THREADS, DirectBroker, OpenOrder, Position, RefusedError
from libs.common.kernel.errors import UnavailableError

# A wish that the broker has not followed is repeated after this long.
_REPEAT_S: Final = 2.0
_LOOK_S: Final = 0.1
# So often in a row the broker must say that nothing is left.
_LOOKS: Final = 2

Tell = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What was done, and what is left. Seconds count from the start."""

    cancelled: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    spared: int = 0
    orders_left: list[str] = field(default_factory=list)
    positions_left: list[str] = field(default_factory=list)
    requested_s: float | None = None
    quiet_s: float | None = None
    flat_s: float | None = None
    verified: bool = False
    unanswered: str | None = None


def halt_directly(
    broker: DirectBroker, *, flatten: bool, cancel_exits: bool, within_s: float, tell: Tell
) -> Report:
    """Cancel all open orders (exits of what is held stay, unless flattening or told otherwise),
    close all positions where asked to, and look until the broker shows it or time is up.

    A broker that does not answer is asked again until then. Raises KeysRefusedError.
    """
    return _Halt(broker, flatten, cancel_exits, within_s, tell).run()


class _Halt:
    def __init__(
        self, broker: DirectBroker, flatten: bool, cancel_exits: bool, within_s: float, tell: Tell
    ) -> None:
        self._broker = broker
        self._flatten = flatten
        self._all = flatten or cancel_exits
        self._tell = tell
        self._began = time.monotonic()
        self._deadline = self._began + within_s
        self._asked: dict[str, float] = {}  # when: by order id, or by symbol for a close
        self._report = Report()

    def run(self) -> Report:
        looks = 0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="halt") as pool:
            while True:
                try:
                    looks = looks + 1 if self._step(pool) else 0
                    self._report.unanswered = None
                except UnavailableError as error:
                    looks = 0
                    if self._report.unanswered is None:
                        self._tell(f"{error}; asking again")
                    self._report.unanswered = str(error)
                if looks >= _LOOKS or time.monotonic() >= self._deadline:
                    self._report.verified = looks >= _LOOKS
                    return self._report
                time.sleep(_LOOK_S)

    def _step(self, pool: ThreadPoolExecutor) -> bool:
        """Look once and ask for what is still to be done; True if nothing is."""
        report = self._report
        if self._all and report.requested_s is None:
            # One call for all, before anything is read.
            asked = self._broker.cancel_all()
            self._asked.update((order_id, time.monotonic()) for order_id in asked)
            report.cancelled += asked
            report.requested_s = self._since()
        positions, orders = self._broker.positions(), self._broker.open_orders()
        held = {one.symbol: one.quantity for one in positions}
        wanted = [one for one in orders if not self._stays(one, held)]
        report.spared = 0 if self._all else len(orders) - len(wanted)
        report.orders_left = [f"{one.side} {one.kind} {one.symbol} {one.id}" for one in orders]
        if not self._all:
            report.orders_left = [f"{one.side} {one.kind} {one.symbol} {one.id}" for one in wanted]
        self._cancel(pool, wanted)
        if report.requested_s is None:
            report.requested_s = self._since()
        if not wanted and report.quiet_s is None:
            report.quiet_s = self._since()
        if not self._flatten:
            return not wanted
        report.positions_left = [f"{one.symbol} {one.quantity:f}" for one in positions]
        self._close(pool, positions, {one.symbol for one in orders})
        if not positions and report.flat_s is None:
            report.flat_s = self._since()
        return not orders and not positions

    def _stays(self, order: OpenOrder, held: Mapping[str, Decimal]) -> bool:
        """Tell whether an order is not to be cancelled: our own that closes, or an exit."""
        if not self._all:
            return order.protects(held)
        quantity = held.get(order.symbol, Decimal(0))
        closes = quantity > 0 if order.side == "sell" else quantity < 0
        return order.symbol in self._report.closed and order.kind == "market" and closes

    def _cancel(self, pool: ThreadPoolExecutor, wanted: Iterable[OpenOrder]) -> None:
        due = [one.id for one in wanted if self._is_due(one.id)]
        self._report.cancelled += [one for one in due if one not in self._asked]
        self._each(pool, due, self._broker.cancel)

    def _close(
        self, pool: ThreadPoolExecutor, positions: Iterable[Position], busy: Container[str]
    ) -> None:
        """Close what no order stands in the way of, the largest amount of money first."""
        due = [
            one.symbol
            for one in by_size(positions)
            if one.symbol not in busy and self._is_due(one.symbol)
        ]
        self._report.closed += [one for one in due if one not in self._report.closed]
        self._each(pool, due, self._broker.close)

    def _is_due(self, name: str) -> bool:
        return time.monotonic() - self._asked.get(name, -_REPEAT_S) >= _REPEAT_S

    def _each(
        self, pool: ThreadPoolExecutor, names: Sequence[str], ask: Callable[[str], None]
    ) -> None:
        """Ask for all, several at a time and in their order. What got no answer is asked again,
        unless the next look shows that it has come about."""
        waiting = [(name, pool.submit(ask, name)) for name in names]
        self._asked.update((name, time.monotonic()) for name in names)
        unavailable: UnavailableError | None = None
        for name, future in waiting:
            try:
                future.result()
            except RefusedError as error:
                self._tell(f"{name}: the broker says {error}")
            except UnavailableError as error:
                unavailable = error
        if unavailable is not None:
            raise unavailable

    def _since(self) -> float:
        return time.monotonic() - self._began


def by_size(positions: Iterable[Position]) -> list[Position]:
    """Return the positions, most money first; what has no price goes before all."""
    return sorted(positions, key=lambda one: (one.value is not None, -abs(one.value or Decimal(0))))
