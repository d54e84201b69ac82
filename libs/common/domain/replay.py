"""A position told from its beginning: every entry that stands, in its place.

An execution that was taken back is left out, its replacement stands where it stood, and a split
stands where it happened in market time. So the position after a bust, a correction or a late
split is the one there would be had the books known from the start, also across flips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from libs.common.domain.positions import (
    Position,
    apply_cash_in_lieu,
    apply_fill,
    apply_split,
    apply_transfer,
)
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import ZERO


class ChangeKind(StrEnum):
    """How a position changes without a trade."""

    OPENING = "opening"
    SPLIT = "split"
    CASH_IN_LIEU = "cash_in_lieu"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution that stands."""

    side: Side
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Change:
    """Shares that moved without a trade: `quantity` signed, `cost` a share of what came in,
    `amount` the money paid in lieu (positive ours)."""

    kind: ChangeKind
    quantity: Decimal
    cost: Decimal = ZERO
    amount: Decimal = ZERO


def replay(entries: Iterable[Fill | Change]) -> Position:
    """Return what the entries amount to, from nothing, in their order."""
    position = Position()
    for entry in entries:
        position = _after(position, entry)
    return position


def _after(position: Position, entry: Fill | Change) -> Position:
    if isinstance(entry, Fill):
        return apply_fill(position, entry.side, entry.quantity, entry.price).position
    match entry.kind:
        case ChangeKind.SPLIT:
            return apply_split(position, entry.quantity)
        case ChangeKind.CASH_IN_LIEU:
            return apply_cash_in_lieu(position, entry.quantity, entry.amount).position
        case ChangeKind.OPENING | ChangeKind.TRANSFER:
            return apply_transfer(position, entry.quantity, entry.cost)
        case _:
            assert_never(entry.kind)
