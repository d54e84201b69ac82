"""Protection coverage: what of a position is guarded by resting exits, and what is not.

A position is covered where the open quantity of exits that the venue would carry out is at least
the quantity that was asked to be protected. The two exits of a group guard the same shares, so a
group counts once; exits that only wait for an entry to be complete guard nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum
from uuid import UUID

from libs.common.domain.instruments import EQUITY_TICK, EQUITY_TICK_BELOW_ONE
from libs.common.domain.vocabulary import Side
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, round_to_step

_EXACT = Decimal("0.000001")


class Standing(StrEnum):
    """What an exit is worth as protection."""

    ACTIVE = "active"
    MOVING = "moving"  # being sent, looked up or cancelled: wait and see
    IDLE = "idle"  # held, or ended


@dataclass(frozen=True, slots=True)
class Exit:
    """A group of exits of one symbol: a stop, or a stop and a take-profit of which one goes.

    `open_quantity` in shares; `owner` is the protection that it was placed for, None if it was
    placed by somebody else; `ours` tells whether the protection desk placed it.
    """

    group: UUID
    side: Side
    open_quantity: Decimal
    standing: Standing
    owner: UUID | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A protection that was asked for: `quantity` shares, or with None all there are."""

    id: UUID
    side: Side
    quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one protection has and lacks. `excess` are groups of ours that guard too much."""

    needed: Decimal
    active: Decimal
    moving: bool
    excess: tuple[UUID, ...] = ()

    @property
    def missing(self) -> Decimal:
        """How many shares stand naked: needed 10, active 4 -> 6."""
        return max(ZERO, self.needed - self.active)


def covers(
    position: Decimal, wanted: Sequence[Wanted], exits: Iterable[Exit]
) -> dict[UUID, Coverage]:
    """Return the coverage of each protection of one symbol, asked for in this order.

    Position +10, wanted 6 and then all: the first needs 6, the second what is left, 4. Exits of
    other people are lent to whoever lacks some, in the same order.
    """
    groups = list(exits)
    left = abs(position)
    direction = Side.SELL if position > 0 else Side.BUY
    lent = sum(
        (one.open_quantity for one in groups
         if one.owner is None and one.side is direction and one.standing is Standing.ACTIVE),
        ZERO,
    )  # fmt: skip
    found: dict[UUID, Coverage] = {}
    for one in wanted:
        needed = ZERO
        if position and one.side is direction:
            needed = left if one.quantity is None else min(left, one.quantity)
        left -= needed
        own = [exit_ for exit_ in groups if exit_.owner == one.id]
        active = [exit_ for exit_ in own if exit_.standing is Standing.ACTIVE]
        held = sum((exit_.open_quantity for exit_ in active), ZERO)
        excess = _excess(active, held - needed)
        borrowed = min(lent, max(ZERO, needed - held))
        lent -= borrowed
        moving = any(exit_.standing is Standing.MOVING for exit_ in own)
        found[one.id] = Coverage(needed, held + borrowed, moving, excess)
    return found


def _excess(active: Sequence[Exit], too_much: Decimal) -> tuple[UUID, ...]:
    """Return the groups of ours that must go so that no more than is there can be sold; what they
    guarded rightly is placed anew."""
    groups = []
    for one in reversed([exit_ for exit_ in active if exit_.ours]):
        if too_much <= 0:
            break
        groups.append(one.group)
        too_much -= one.open_quantity
    return tuple(groups)


def overfilled(group_quantity: Decimal, filled: Iterable[Decimal]) -> Decimal:
    """Return how much the exits of one group traded beyond it: both of 10 filled -> 10."""
    return max(ZERO, sum(filled, ZERO) - group_quantity)


@dataclass(frozen=True, slots=True)
class Split:
    """What splits made of a position: `before` shares became `after`; parts paid out stay out."""

    before: Decimal
    after: Decimal

    def stop(self, price: Decimal, side: Side) -> Decimal:
        """Return the stop of an exit on `side` that means what `price` meant: rounded so that it
        goes off rather sooner. Selling, 90.01 with 2 for 1 -> 45.01; buying -> 45.00."""
        return self._price(price, ROUND_CEILING if side is Side.SELL else ROUND_FLOOR)

    def take_profit(self, price: Decimal, side: Side) -> Decimal:
        """Return the limit that means what `price` meant: rounded so that it trades rather
        sooner. Selling, 110.01 with 2 for 1 -> 55.00; buying -> 55.01."""
        return self._price(price, ROUND_FLOOR if side is Side.SELL else ROUND_CEILING)

    def shares(self, quantity: Decimal) -> Decimal:
        """Return what `quantity` shares have become; what is no whole quantum is cut off."""
        return round_to_step(quantity * self.after / self.before, PRICE_QUANTUM, ROUND_FLOOR)

    def _price(self, price: Decimal, rounding: str) -> Decimal:
        # Shares are rounded to 8 places, so that their ratio is not quite the split's.
        exact = (price * self.before / self.after).quantize(_EXACT)
        tick = EQUITY_TICK if exact >= 1 else EQUITY_TICK_BELOW_ONE
        return max(tick, round_to_step(exact, tick, rounding))
