"""What an exchange or a broker's desk does to an order of its own accord, on request."""

from __future__ import annotations

from enum import StrEnum

from libs.common.domain.vocabulary import SessionState
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.groups import Groups
from services.broker_simulator.engine.matcher import Matcher
from services.broker_simulator.engine.model import PAUSED, Order, Status, standing_status
from services.broker_simulator.engine.registry import Registry


class Intervention(StrEnum):
    """What can be done to an order."""

    REJECT = "reject"
    CANCEL = "cancel"
    EXPIRE = "expire"
    SUSPEND = "suspend"
    STOP = "stop"
    CALCULATE = "calculate"
    DONE_FOR_DAY = "done_for_day"
    RESUME = "resume"
    RESTATE = "restate"
    REJECT_CANCEL = "reject_cancel"
    REJECT_REPLACE = "reject_replace"


_ENDS = {
    Intervention.REJECT: Status.REJECTED,
    Intervention.CANCEL: Status.CANCELED,
    Intervention.EXPIRE: Status.EXPIRED,
}
_PAUSES = {
    Intervention.SUSPEND: Status.SUSPENDED,
    Intervention.STOP: Status.STOPPED,
    Intervention.CALCULATE: Status.CALCULATED,
    Intervention.DONE_FOR_DAY: Status.DONE_FOR_DAY,
}
_PAUSABLE = PAUSED | {Status.ACCEPTED, Status.HELD, Status.NEW, Status.PARTIALLY_FILLED}
TOO_LATE = "TOO_LATE_TO_CANCEL"


class Interventions:
    """Carries them out. Every method announces what it did on the stream."""

    def __init__(self, registry: Registry, groups: Groups, matcher: Matcher) -> None:
        self._registry = registry
        self._groups = groups
        self._matcher = matcher

    def intervene(self, order: Order, what: Intervention, ns: int, reason: str | None) -> None:
        """Do `what` to an order, at `ns`. Raises InvalidInputError where it cannot be.

        An order that has ended can only be told about: a cancel or replace that was refused.
        """
        if what is Intervention.REJECT_CANCEL:
            self.reject_cancel(order, ns, reason)
        elif what is Intervention.REJECT_REPLACE:
            self.reject_replace(order, ns, reason)
        elif not order.is_open:
            raise InvalidInputError(f"order {order.id} is {order.status}: it cannot {what}")
        elif what in _ENDS:
            status = _ENDS[what]
            self._registry.transition(order, status, str(status), ns, reason=reason)
            self._groups.after_end(order, ns)
        elif what in _PAUSES:
            self.pause(order, _PAUSES[what], ns, reason)
        elif what is Intervention.RESUME:
            self.resume(order, ns)
        else:
            order.updated_at = ns
            self._registry.touch(order)
            self._registry.emit("restated", order, ns, reason=reason)

    def pause(self, order: Order, status: Status, ns: int, reason: str | None = None) -> None:
        """Take an order out of the market without ending it."""
        if order.status not in _PAUSABLE:
            raise InvalidInputError(f"order {order.id} is {order.status}: it cannot be {status}")
        if order.status not in PAUSED:
            order.status_before = order.status
        self._registry.transition(order, status, str(status), ns, reason=reason)

    def resume(self, order: Order, ns: int) -> None:
        """Bring a paused order back, to meet the market as if it arrived."""
        if order.status not in PAUSED:
            raise InvalidInputError(f"order {order.id} is {order.status}: there is nothing to end")
        back = standing_status(order)
        order.rests = False
        self._registry.transition(order, back, str(back), ns)
        if self._matcher.session is not SessionState.CLOSED:
            self._matcher.arrive(order, ns)

    def reject_cancel(self, order: Order, ns: int, reason: str | None = None) -> None:
        """Refuse a cancel that was asked for; the order stands as before."""
        if order.status is Status.PENDING_CANCEL:
            order.status, order.status_before = standing_status(order), None
            order.updated_at = ns
            self._registry.touch(order)
        self._registry.emit("order_cancel_rejected", order, ns, reason=reason or TOO_LATE)

    def reject_replace(self, order: Order, ns: int, reason: str | None = None) -> None:
        """Refuse a replacement that was asked for; the order stands, its successor ends."""
        if order.status is Status.PENDING_REPLACE:
            order.status, order.status_before = standing_status(order), None
            order.updated_at = ns
            self._registry.touch(order)
            for other in self._registry.open_orders(order.account, order.symbol):
                if other.replaces == order.id and other.is_successor_in_waiting:
                    self._registry.transition(other, Status.REJECTED, "rejected", ns)
        self._registry.emit("order_replace_rejected", order, ns, reason=reason or TOO_LATE)
