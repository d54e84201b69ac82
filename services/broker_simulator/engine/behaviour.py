"""How the exchange misbehaves on request: delays and oddities inside the order's life."""

from __future__ import annotations

import hashlib
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import msgspec

_ONE = Decimal(1)


class Mishap(StrEnum):
    """What can befall one order at the exchange."""

    REJECT_ORDER = "reject_order"
    CANCEL_REJECTED = "cancel_rejected"
    REPLACE_REJECTED = "replace_rejected"


class Behaviour(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Switches that the engine reads. Delays are seconds of market time.

    `partial_fill_probability`: an arriving order gets only `partial_fill_fraction` of what it
    could; the rest follows with later quotes. `reject_probability`: accepted, then rejected.
    `oco_leak`: a filled exit does not cancel its sibling, so both can fill.
    """

    ack_delay_s: float = 0.0
    cancel_delay_s: float = 0.0
    replace_delay_s: float = 0.0
    reject_probability: float = 0.0
    partial_fill_probability: float = 0.0
    partial_fill_fraction: float = 0.5
    oco_leak: bool = False


def draw(seed: int, *names: object) -> float:
    """Return a number in [0, 1) that depends on nothing but the seed and the names."""
    text = "\x1f".join(map(str, (seed, *names)))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def part_of(quantity: Decimal, fraction: float) -> Decimal:
    """Return `fraction` of `quantity` in whole shares, at least one where there is one."""
    part = (quantity * Decimal(str(fraction))).quantize(_ONE, rounding=ROUND_DOWN)
    return min(quantity, max(part, _ONE))
