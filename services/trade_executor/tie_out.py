"""A market day's figures on both sides, and where they differ, to the cent and the share.

A day reaches from the end of the extended hours of the session before to the end of its own.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from libs.common.domain.activities import Activity
from libs.common.domain.executions import Execution, Reversal
from libs.common.domain.sessions import Session, SessionCalendar
from libs.common.kernel.money import ZERO, plain

V = TypeVar("V")

_MIDNIGHT, _NOON = dt.time(0), dt.time(12)


class Traded(NamedTuple):
    """One side of a symbol's executions on a day."""

    number: int = 0
    quantity: Decimal = ZERO
    money: Decimal = ZERO


class Moved(NamedTuple):
    """One kind of activities on a day."""

    number: int = 0
    amount: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Figures:
    """What one side says of a day: cash and positions as they stand, executions by symbol and
    side ("KO buy"), activities by the broker's word for them."""

    cash: Decimal
    positions: Mapping[str, Decimal] = field(default_factory=dict)
    executions: Mapping[str, Traded] = field(default_factory=dict)
    activities: Mapping[str, Moved] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Return them with decimals as plain strings."""
        return {
            "cash": plain(self.cash),
            "positions": {name: plain(held) for name, held in sorted(self.positions.items())},
            "executions": {
                name: {"number": one.number, "quantity": plain(one.quantity),
                       "money": plain(one.money)}
                for name, one in sorted(self.executions.items())
            },
            "activities": {
                name: {"number": one.number, "amount": plain(one.amount)}
                for name, one in sorted(self.activities.items())
            },
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Movement:
    """The ledger's cash since the tie-out of the day before: what it was then, what each code has
    moved since, what it is now."""

    opening: Decimal
    parts: Mapping[str, Decimal]
    closing: Decimal

    @property
    def expected(self) -> Decimal:
        """The opening balance and its parts."""
        return self.opening + sum(self.parts.values(), ZERO)

    def shown(self) -> dict[str, Any]:
        """Return it with decimals as plain strings."""
        parts = {code: plain(moved) for code, moved in sorted(self.parts.items()) if moved}
        return {"opening": plain(self.opening), "parts": parts, "closing": plain(self.closing)}


class Difference(NamedTuple):
    """One figure that is not the same on both sides; `of` is the symbol, side or kind."""

    what: str
    of: str
    ours: str
    theirs: str


def movement(
    opening: Decimal, before: Mapping[str, Decimal], now: Mapping[str, Decimal], closing: Decimal
) -> Movement:
    """Return the movement between two sums by code since the books began."""
    codes = {*before, *now}
    return Movement(
        opening, {code: now.get(code, ZERO) - before.get(code, ZERO) for code in codes}, closing
    )


def compare(ours: Figures, theirs: Figures, moved: Movement) -> list[Difference]:
    """Return every figure that differs; none is left out because another one explains it."""
    found = []
    if ours.cash != theirs.cash:
        found.append(Difference("cash", "", plain(ours.cash), plain(theirs.cash)))
    for symbol, here, there in _pairs(ours.positions, theirs.positions, ZERO):
        found.append(Difference("position", symbol, plain(here), plain(there)))
    for name, did, told in _pairs(ours.executions, theirs.executions, Traded()):
        found += _fields("executions", name, did, told)
    for kind, booked, listed in _pairs(ours.activities, theirs.activities, Moved()):
        found += _fields("activities", kind, booked, listed)
    if moved.expected != moved.closing:
        found.append(Difference("cash_movement", "", plain(moved.closing), plain(moved.expected)))
    return found


def standing(executions: Iterable[Execution], reversals: Collection[Reversal]) -> list[Execution]:
    """Return the executions that stand: not taken back, with what replaced others, each once."""
    gone = {one.original for one in reversals}
    replacing = [one.replacement for one in reversals if one.replacement is not None]
    listed = {one.execution_id: one for one in [*executions, *replacing]}
    return [one for identity, one in listed.items() if identity not in gone]


def traded(executions: Iterable[Execution]) -> dict[str, Traded]:
    """Return the sums by symbol and side."""
    sums: defaultdict[str, Traded] = defaultdict(Traded)
    for one in executions:
        name = f"{one.symbol} {one.side}"
        number, quantity, money = sums[name]
        sums[name] = Traded(number + 1, quantity + one.quantity, money + one.amount)
    return dict(sums)


def moved_by(activities: Iterable[Activity]) -> dict[str, Moved]:
    """Return the sums by the broker's word."""
    sums: defaultdict[str, Moved] = defaultdict(Moved)
    for one in activities:
        sums[one.kind] = Moved(sums[one.kind].number + 1, sums[one.kind].amount + one.amount)
    return dict(sums)


def day_of(activity: Activity, calendar: SessionCalendar) -> dt.date:
    """Return the market day of an activity. What the broker dates by the day alone (midnight UTC)
    belongs to that date, or to the next session after it."""
    at = activity.executed_at.astimezone(dt.UTC)
    if at.time() == _MIDNIGHT:
        return calendar.trading_date(dt.datetime.combine(at.date(), _NOON, dt.UTC))
    return calendar.trading_date(at)


@dataclass(frozen=True, slots=True)
class Tried:
    """The newest attempt of a day."""

    seq: int
    agrees: bool
    looked_at: dt.datetime
    differences: tuple[Difference, ...] = ()


def is_due(session: Session, tried: Tried | None, now: dt.datetime) -> bool:
    """Tell whether a day is to be tied out: never tried, or it differed, or it agreed before the
    extended hours were over and they are now."""
    if now < session.close:
        return False
    if tried is None or not tried.agrees:
        return True
    return tried.looked_at < session.post_close <= now


def _pairs(
    ours: Mapping[str, V], theirs: Mapping[str, V], nothing: V
) -> Iterator[tuple[str, V, V]]:
    for name in sorted({*ours, *theirs}):
        here, there = ours.get(name, nothing), theirs.get(name, nothing)
        if here != there:
            yield name, here, there


def _fields(what: str, name: str, ours: NamedTuple, theirs: NamedTuple) -> Iterator[Difference]:
    for label, here, there in zip(ours._fields, ours, theirs, strict=True):
        if here != there:
            yield Difference(f"{what} {label}", name, _text(here), _text(there))


def _text(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
