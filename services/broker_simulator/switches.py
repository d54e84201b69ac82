"""Turning faults on and off: switches, behaviour, connections, plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.behaviour import Behaviour
from services.broker_simulator.fault_request import FaultRequest
from services.broker_simulator.faults import Fault, Kind, Stream
from services.broker_simulator.planner import Planner

if TYPE_CHECKING:
    from services.broker_simulator.broker import Broker


class Switches:
    """What `/sim/faults` and a plan act on."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.planner = Planner(self._for_a_while)
        self.refuse: Callable[[float], None] = _cannot_refuse
        self._running = False

    def begin(self) -> None:
        """Start a plan that was set before the loop ran."""
        self._running = True
        self.planner.begin()

    def on(self, wanted: FaultRequest) -> list[Fault]:
        """Turn the wanted faults on, cut and refuse connections, begin a plan.

        Returns the switches with their ids. Before the loop runs, a plan waits for it.
        """
        added = [self._broker.faults.add(fault) for fault in wanted.faults]
        if wanted.behaviour is not None:
            self._broker.registry.behaviour = wanted.behaviour
        self.apply_standing()
        for stream in wanted.disconnect:
            (self._broker.trading if stream is Stream.TRADING else self._broker.data).drop_all()
        if wanted.refuse_s > 0:
            self.refuse(wanted.refuse_s)
        if wanted.plan is not None:
            self.planner.set(wanted.plan)
            if self._running:
                self.planner.begin()
        return added

    def off(self) -> int:
        """Turn everything off, a plan too; returns how many switches were on."""
        self.planner.stop()
        removed = self._broker.faults.remove()
        self._broker.registry.behaviour = Behaviour()
        self.apply_standing()
        return removed

    def _for_a_while(self, wanted: FaultRequest) -> Callable[[], None]:
        """Turn faults on; returns what turns the same ones off."""
        ids = [fault.id for fault in self.on(wanted)]
        behaviour = wanted.behaviour

        def end() -> None:
            for fault_id in ids:
                self._broker.faults.remove(fault_id)
            if behaviour is not None and self._broker.registry.behaviour is behaviour:
                self._broker.registry.behaviour = Behaviour()
            self.apply_standing()

        return end

    def apply_standing(self) -> None:
        """Let faults that are states, not events, take effect."""
        self._broker.exchange.stale = self._broker.faults.standing(Kind.STALE_FEED) is not None


def _cannot_refuse(seconds: float) -> None:
    raise InvalidInputError(f"this server cannot refuse connections for {seconds} s")
