"""What can be made to go wrong on the wire, and when: switches, counted and seeded.

A fault has a kind, a filter for what it may hit, a probability and perhaps a count after which it
is spent. The draw depends on the seed, the fault and how often it was asked: the same requests in
the same order meet the same faults. A new kind is a member of `Kind` and one place that asks for
it.
"""

from __future__ import annotations

import fnmatch
from enum import StrEnum
from typing import Any

import msgspec

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.behaviour import Mishap, draw
from services.broker_simulator.garble import Form


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
    GARBLED_FRAME = "garbled_frame"
    # an object in an answer or message
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_STATUS = "unknown_status"
    MISSING_FIELD = "missing_field"
    WRONG_FIELD = "wrong_field"
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
    or latency takes, or the clock's skew. `status` is the answer of the error kinds (504) and of
    garbled answers (as it was).
    `form` and `size` say how an answer or frame is garbled. `object` (a pattern: order, activity,
    position, account, update) chooses what the kinds of objects hit, whose `event` is its status,
    type, symbol or event; `field` and `value` what is missing or wrong in it.
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
    status: int | None = None
    form: Form = Form.TRUNCATED
    size: int = 50_000_000
    object: str = "order"
    field: str | None = None
    value: Any = None
    asked: int = 0
    hits: int = 0

    def check(self) -> None:
        """Raise InvalidInputError naming what is out of range."""
        if not 0 <= self.probability <= 1:
            raise InvalidInputError(f"probability {self.probability} must be between 0 and 1")
        if self.count is not None and self.count < 1:
            raise InvalidInputError(f"count {self.count} must be at least 1")
        lowest = 200 if self.kind is Kind.GARBLED_ANSWER else 400
        if self.status is not None and not lowest <= self.status <= 599:
            raise InvalidInputError(f"status {self.status} must be between {lowest} and 599")
        if not 0 <= self.size <= 1_000_000_000:
            raise InvalidInputError(f"size {self.size} must be between 0 and 1000000000")
        if self.kind is Kind.WRONG_FIELD and self.field is None:
            raise InvalidInputError("wrong_field takes field and value")
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

    def on_object(self, kind: Kind, what: str, word: str) -> Fault | None:
        """Return the fault of `kind` that hits this object, None if none does."""
        for fault in self.active:
            if (
                fault.kind is kind
                and fault.stream in (None, Stream.TRADING)
                and fnmatch.fnmatchcase(what, fault.object)
                and fnmatch.fnmatchcase(word, fault.event)
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
