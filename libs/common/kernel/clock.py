"""Time through the door: who needs the time is given a Clock."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final, Protocol

from libs.common.kernel.errors import InvalidInputError

UTC: Final = dt.UTC
NS_PER_SECOND: Final = 1_000_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)\Z"
)


class Clock(Protocol):
    """Tells the time. Wall time unless the name says market time."""

    def now(self) -> dt.datetime:
        """Return the time, aware, in UTC."""
        ...

    def now_ns(self) -> int:
        """Return the time as nanoseconds since 1970-01-01 UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never step back, for durations only."""
        ...


class ManualClock:
    """A clock that stands still until it is moved; for tests and simulations."""

    def __init__(self, now: dt.datetime) -> None:
        self._ns = to_ns(now)

    def now(self) -> dt.datetime:
        """Return the set time."""
        return from_ns(self._ns)

    def now_ns(self) -> int:
        """Return the set time in nanoseconds."""
        return self._ns

    def monotonic_ns(self) -> int:
        """Return the set time in nanoseconds."""
        return self._ns

    def advance(self, delta: dt.timedelta) -> None:
        """Move the clock forward. Raises InvalidInputError for a negative step."""
        if delta < dt.timedelta(0):
            raise InvalidInputError(f"a clock does not run backward: {delta}")
        self._ns += round(delta / dt.timedelta(microseconds=1)) * 1000

    def set(self, now: dt.datetime) -> None:
        """Put the clock to `now`."""
        self._ns = to_ns(now)


def to_ns(moment: dt.datetime) -> int:
    """Return nanoseconds since the epoch; raises InvalidInputError for a naive time."""
    if moment.tzinfo is None:
        raise InvalidInputError(f"time {moment.isoformat()} has no time zone")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * NS_PER_SECOND + delta.microseconds * 1000


def from_ns(ns: int) -> dt.datetime:
    """Return the UTC time of `ns`, truncated to microseconds."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    return _EPOCH + dt.timedelta(0, seconds, rest // 1000)


def format_ns(ns: int) -> str:
    """Return RFC 3339 UTC with nanoseconds: 0 -> '1970-01-01T00:00:00.000000000Z'."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    moment = _EPOCH + dt.timedelta(0, seconds)
    # Not strftime: this is written on every message, and isoformat takes a fifth of the time.
    return f"{moment.isoformat()[:19]}.{rest:09d}Z"


def parse_ns(text: str, what: str = "time") -> int:
    """Read RFC 3339 with up to nine fraction digits and a zone; raises InvalidInputError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"{what}: {text!r} is not an RFC 3339 time with a zone")
    day, clock, fraction, zone = match.groups()
    zone = "+00:00" if zone in "Zz" else zone
    try:
        moment = dt.datetime.fromisoformat(f"{day}T{clock}{zone}")
    except ValueError as error:
        raise InvalidInputError(f"{what}: {text!r}: {error}") from error
    return to_ns(moment) + int((fraction or "").ljust(9, "0"))
