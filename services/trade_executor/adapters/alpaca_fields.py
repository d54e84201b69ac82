"""Reading a broker's JSON object field by field: a value of the right kind, or an error that
names the field. Whatever the JSON holds, no other exception comes out of here.

A JSON document can carry what our books cannot: numbers of a million digits, text with NUL or
half a surrogate pair. Such values are refused here, not at the database.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

from libs.common.kernel.clock import from_ns, parse_ns
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import MONEY_LIMIT, QUANTITY_LIMIT, decimal

W = TypeVar("W", bound=StrEnum)

_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}\Z")
_DECIMALS_MAX: Final = 32
_SHOWN_MAX: Final = 60
_REASON_MAX: Final = 500
_WORD_MAX: Final = 64


class Fields:
    """The fields of one object. `what` names it in errors."""

    def __init__(self, body: object, what: str) -> None:
        if not isinstance(body, Mapping):
            raise InvalidInputError(f"{what}: expected an object, got {_shown(body)}")
        self._body: Mapping[str, Any] = body
        self._what = what

    def raw(self, name: str) -> Any:
        """Return the value as it is, None where there is none."""
        return self._body.get(name)

    def name(self, field: str) -> str:
        """Return an identity: printable ASCII without blanks, at most 128 characters."""
        value = self._body.get(field)
        if not isinstance(value, str) or _NAME.match(value) is None:
            raise self._error(field, value, "a name")
        return value

    def optional_name(self, field: str) -> str | None:
        """Return an identity, None where there is none."""
        return self.name(field) if self._body.get(field) else None

    def word(self, field: str) -> str:
        """Return a word of the broker's vocabulary, known or not; empty where there is none."""
        return _text(self._body.get(field))[:_WORD_MAX]

    def reason(self, *fields: str) -> str | None:
        """Return the first of these texts that says something, None if none does."""
        texts = (_text(self._body.get(field))[:_REASON_MAX] for field in fields)
        return next((text for text in texts if text), None)

    def enum(self, kind: type[W], field: str) -> W:
        """Return a member that must be there."""
        value = self._body.get(field)
        member = _member(kind, value)
        if member is None:
            raise self._error(field, value, f"one of {', '.join(kind)}")
        return member

    def enum_or(self, kind: type[W], otherwise: W, *fields: str) -> W:
        """Return the member that the first filled field names, `otherwise` if it names none."""
        value = next((self._body[field] for field in fields if self._body.get(field)), None)
        return _member(kind, value) or otherwise

    def number(self, field: str, *, below: Decimal = QUANTITY_LIMIT) -> Decimal:
        """Return a finite number that our books can hold: quantities and prices take twelve
        digits before the point, money sixteen."""
        value = self._body.get(field)
        text = repr(value) if isinstance(value, float) else value
        if isinstance(value, bool) or not isinstance(text, str | int):
            raise self._error(field, value, "a number")
        try:
            number = decimal(text, field)
        except InvalidInputError as error:
            raise self._error(field, value, "a number") from error
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)
        if abs(number) >= below or exponent < -_DECIMALS_MAX:
            raise self._error(field, value, "a number of a size that can be booked")
        return number

    def optional_number(self, field: str) -> Decimal | None:
        """Return a number, None where there is none."""
        value = self._body.get(field)
        return None if value is None or value == "" else self.number(field)

    def optional_money(self, field: str) -> Decimal | None:
        """Return an amount of money, None where there is none."""
        value = self._body.get(field)
        return None if value is None or value == "" else self.number(field, below=MONEY_LIMIT)

    def positive(self, field: str) -> Decimal:
        """Return a number above zero."""
        number = self.number(field)
        if number <= 0:
            raise self._error(field, number, "a number above zero")
        return number

    def optional_not_negative(self, field: str) -> Decimal | None:
        """Return a number that is zero or above, None where there is none."""
        number = self.optional_number(field)
        if number is not None and number < 0:
            raise self._error(field, number, "a number not below zero")
        return number

    def flag(self, field: str) -> bool:
        """Return a boolean; false where there is none."""
        value = self._body.get(field)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._error(field, value, "true or false")

    def moment(self, field: str) -> dt.datetime:
        """Return a time."""
        value = self._body.get(field)
        if not isinstance(value, str):
            raise self._error(field, value, "a time")
        try:
            return from_ns(parse_ns(value, field))
        except (InvalidInputError, OverflowError) as error:
            raise self._error(field, value, "a time") from error

    def optional_moment(self, field: str) -> dt.datetime | None:
        """Return a time, None where there is none."""
        return self.moment(field) if self._body.get(field) else None

    def objects(self, field: str) -> list[Fields]:
        """Return the objects of a list, none where there is no list."""
        value = self._body.get(field)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._error(field, value, "a list")
        return [Fields(one, f"{self._what}.{field}[{i}]") for i, one in enumerate(value)]

    def inner(self, field: str) -> Fields:
        """Return an object that must be there."""
        return Fields(self._body.get(field), f"{self._what}.{field}")

    def _error(self, field: str, value: object, expected: str) -> InvalidInputError:
        return InvalidInputError(f"{self._what}.{field}: expected {expected}, got {_shown(value)}")


def objects(body: object, what: str) -> list[Any]:
    """Return a list of whatever, unread. Raises InvalidInputError where it is none."""
    if not isinstance(body, list):
        raise InvalidInputError(f"{what}: expected a list, got {_shown(body)}")
    return body


def _member(kind: type[W], value: object) -> W | None:
    return next((member for member in kind if member.value == value), None)


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode().replace("\x00", "")


def _shown(value: object) -> str:
    """Return a value short enough for a log, and printable."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a number of many digits"
    return ascii(value)[:_SHOWN_MAX]
