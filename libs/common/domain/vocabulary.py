"""The words of the trade. Values are the lower-case words of FIX and Alpaca's wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Side(StrEnum):
    """Which way an order or execution goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """Return +1 for a buy and -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    """How long an order rests."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


class OrderClass(StrEnum):
    """Whether an order stands alone or brings legs."""

    SIMPLE = "simple"
    BRACKET = "bracket"
    OCO = "oco"
    OTO = "oto"


class OrderStatus(StrEnum):
    """Where an order stands. `denied` is our refusal, `rejected` the venue's."""

    CREATED = "created"
    DENIED = "denied"
    SUBMITTING = "submitting"
    OUTCOME_UNKNOWN = "outcome_unknown"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    HELD = "held"
    WORKING = "working"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    SUSPENDED = "suspended"
    DONE_FOR_DAY = "done_for_day"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing but a late execution can still happen."""
        return self in TERMINAL_STATUSES


TERMINAL_STATUSES: Final = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
        OrderStatus.REPLACED,
    }
)


class TradingState(StrEnum):
    """What the kill switch allows: everything, only less risk, nothing."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class Verdict(StrEnum):
    """The outcome of a judgement."""

    APPROVED = "approved"
    DENIED = "denied"


class StrategyMode(StrEnum):
    """Whether a strategy's signals are traded or only recorded."""

    LIVE = "live"
    SHADOW = "shadow"


class Level(StrEnum):
    """How loud a notification is."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class SessionState(StrEnum):
    """What part of the exchange's day it is."""

    PRE = "pre"
    REGULAR = "regular"
    POST = "post"
    CLOSED = "closed"
