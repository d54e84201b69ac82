"""Reading query strings: each reader refuses what it cannot read, naming the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from libs.common.kernel.clock import parse_ns
from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.refusals import unprocessable

_DAY_NS = 86_400_000_000_000
# Nanoseconds fit 64 bits from 1677 to 2262, and a period may be widened by a year.
_NS_FIRST = parse_ns("1800-01-01T00:00:00Z")
_NS_LAST = parse_ns("2200-01-01T00:00:00Z")


def read_int(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """Return an integer parameter between `low` and `high`."""
    text = query.get(name)
    if not text:
        return default
    try:
        number = int(text)
    except ValueError:
        unprocessable(f"{name}: {text!r} is not an integer")
    if not low <= number <= high:
        unprocessable(f"{name}: {number} must be between {low} and {high}")
    return number


def read_flag(query: Mapping[str, str], name: str) -> bool:
    """Return a boolean parameter; `True`, `true` and `1` are true."""
    text = query.get(name, "").lower()
    if text not in ("", "false", "0", "true", "1"):
        unprocessable(f"{name}: {text!r} is not a boolean")
    return text in ("true", "1")


def read_time(query: Mapping[str, str], name: str, *, end_of_day: bool = False) -> int | None:
    """Return an RFC 3339 time or a date as nanoseconds; a date is its UTC midnight (or its end)."""
    text = query.get(name)
    if not text:
        return None
    text = text.replace(" ", "+")  # a plus sign that was not percent-encoded
    try:
        if len(text) == 10:
            start = parse_ns(f"{date.fromisoformat(text)}T00:00:00Z", name)
            moment = start + _DAY_NS - 1 if end_of_day else start
        else:
            moment = parse_ns(text, name)
    except (InvalidInputError, ValueError) as error:
        unprocessable(f"{name}: {error}")
    if not _NS_FIRST <= moment <= _NS_LAST:
        unprocessable(f"{name}: {text!r} is not within the years 1800 to 2200")
    return moment


def read_date(query: Mapping[str, str], name: str, default: date) -> date:
    """Return a date parameter; of a time, its date."""
    text = query.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        unprocessable(f"{name}: {text!r} is not a date")


def read_choice(query: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    """Return a parameter that must be one of `choices`."""
    text = query.get(name) or default
    if text not in choices:
        unprocessable(f"{name}: {text!r} must be one of {', '.join(choices)}")
    return text


def read_symbols(query: Mapping[str, str], name: str = "symbols") -> list[str]:
    """Return the comma-separated symbols, each once, in their order."""
    raw = query.get(name, "").strip("[]'\" ")
    parts = (part.strip(" '\"").upper() for part in raw.split(","))
    return list(dict.fromkeys(part for part in parts if part))
