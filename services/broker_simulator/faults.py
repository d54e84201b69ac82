"""What can be made to go wrong on the wire, and when: switches, counted and seeded.

A fault has a kind, a filter for what it may hit, a probability and perhaps a count after which it
is spent. The draw depends on the seed, the fault and how often it was asked: the same requests in
the same order meet the same faults. A new kind is a member of `Kind` and one place that asks for
it.
"""

from __future__ import annotations

import fnmatch
from enum import StrEnum

import msgspec

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.behaviour import Behaviour, Mishap, draw


class Kind(StrEnum):
    """Everything that can go wrong."""

    # a request
    LATENCY = "latency"
    LOST_ANSWER = "lost_answer"
    ERROR_AFTER = "error_after"
    ERROR_BEFORE = "error_before"
    RATE_LIMIT = "rate_limit"
    DROP_REQUEST = "drop_request"
    GARBLED_ANSWER = "garbled_answer"
    # a message of a stream
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    DELAY = "delay"
    MISSING = "missing"
    MUTE = "mute"
    # an object in an answer or message
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_STATUS = "unknown_status"
    MISSING_FIELD = "missing_field"
    # one order at the exchange
    REJECT_ORDER = Mishap.REJECT_ORDER.value
    CANCEL_REJECTED = Mishap.CANCEL_REJECTED.value
    REPLACE_REJECTED = Mishap.REPLACE_REJECTED.value
    # the feed and the clock
    STALE_FEED = "stale_feed"
    CLOCK_SKEW = "clock_skew"


class Stream(StrEnum):
    """Which of the two streams a fault is for."""

    TRADING = "trading"
    DATA = "data"


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One switch.

    `method` and `path` (a shell pattern) choose requests, `stream` and `event` (such as `fill`,
    or `q` for quotes) messages, `order` (a pattern for the broker's or the client's id) and
    `symbol` what befalls an order at the exchange. `seconds` to `seconds_max` is how long a delay
    or latency takes, or the clock's skew. `status` is the answer of the error kinds.
    """

    kind: Kind
    id: int = 0
    probability: float = 1.0
    count: int | None = None
    method: str = "*"
    path: str = "*"
    stream: Stream | None = None
    event: str = "*"
    order: str = "*"
    symbol: str = "*"
    seconds: float = 0.0
    seconds_max: float = 0.0
    status: int = 504
    asked: int = 0
    hits: int = 0

    def check(self) -> None:
        """Raise InvalidInputError naming what is out of range."""
        if not 0 <= self.probability <= 1:
            raise InvalidInputError(f"probability {self.probability} must be between 0 and 1")
        if self.count is not None and self.count < 1:
            raise InvalidInputError(f"count {self.count} must be at least 1")
        if not 400 <= self.status <= 599:
            raise InvalidInputError(f"status {self.status} must be between 400 and 599")
        if self.kind is not Kind.CLOCK_SKEW and not 0 <= self.seconds <= 3600:
            raise InvalidInputError(f"seconds {self.seconds} must be between 0 and 3600")


class Faults:
    """The switches that are on."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._next_id = 1
        self.active: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Switch `fault` on."""
        fault.check()
        fault.id, fault.asked, fault.hits = self._next_id, 0, 0
        self._next_id += 1
        self.active.append(fault)
        return fault

    def remove(self, fault_id: int | None = None) -> int:
        """Switch one fault off, or all; returns how many were on."""
        before = len(self.active)
        self.active = [f for f in self.active if fault_id is not None and f.id != fault_id]
        return before - len(self.active)

    def on_request(self, kind: Kind, method: str, path: str) -> Fault | None:
        """Return the fault of `kind` that hits this request, None if none does."""
        for fault in self.active:
            if (
                fault.kind is kind
                and fault.stream is None
                and fnmatch.fnmatchcase(method, fault.method)
                and fnmatch.fnmatchcase(path, fault.path)
                and self._strikes(fault)
            ):
                return fault
        return None

    def on_message(self, kind: Kind, stream: Stream, event: str) -> Fault | None:
        """Return the fault of `kind` that hits this stream message, None if none does."""
        for fault in self.active:
            if (
                fault.kind is kind
                and fault.stream in (None, stream)
                and fnmatch.fnmatchcase(event, fault.event)
                and self._strikes(fault)
            ):
                return fault
        return None

    def on_order(self, mishap: Mishap, ids: tuple[str, ...], symbol: str) -> bool:
        """Tell whether `mishap` befalls the order with these ids."""
        if not self.active:
            return False
        kind = Kind(mishap.value)
        return any(
            fault.kind is kind
            and any(fnmatch.fnmatchcase(name, fault.order) for name in ids)
            and fnmatch.fnmatchcase(symbol, fault.symbol)
            and self._strikes(fault)
            for fault in self.active
        )

    def standing(self, kind: Kind) -> Fault | None:
        """Return the first fault of `kind` that is on, without counting it as a hit."""
        return next((fault for fault in self.active if fault.kind is kind), None)

    def duration(self, fault: Fault) -> float:
        """Return how long this hit of the fault takes, in wall seconds."""
        if fault.seconds_max <= fault.seconds:
            return fault.seconds
        share = draw(self._seed, "duration", fault.id, fault.hits)
        return fault.seconds + share * (fault.seconds_max - fault.seconds)

    def _strikes(self, fault: Fault) -> bool:
        if fault.count is not None and fault.hits >= fault.count:
            return False
        fault.asked += 1
        if fault.probability < 1 and (
            draw(self._seed, "fault", fault.id, fault.asked) >= fault.probability
        ):
            return False
        fault.hits += 1
        return True


class FaultRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /sim/faults`: switches to turn on, actions to carry out now."""

    faults: list[Fault] = []
    behaviour: Behaviour | None = None
    disconnect: list[Stream] = []
    refuse_s: float = 0.0


def read_faults(text: bytes, what: str) -> FaultRequest:
    """Read switches from JSON. Raises InvalidInputError naming `what` and the field."""
    try:
        wanted = msgspec.json.decode(text, type=FaultRequest)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"{what}: {error}") from error
    if not 0 <= wanted.refuse_s <= 600:
        raise InvalidInputError(f"{what}: refuse_s {wanted.refuse_s} must be between 0 and 600")
    for fault in wanted.faults:
        fault.check()
    return wanted
