"""Seeded fault plans: which fault strikes when, as a pure function of the plan.

A plan draws a gap (exponential, from its rate), a kind and how long it lasts, again and again.
The n-th fault depends on nothing but the seed and n: the same plan gives the same faults at the
same distance from its start.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec

from libs.common.kernel.errors import InvalidInputError
from services.broker_simulator.engine.behaviour import draw


class Plan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Faults that come and go by themselves; times are wall seconds.

    `kinds` are names of the catalogue, drawn with equal chances. A fault is on
    for `seconds` to `seconds_max`. The plan ends after `count` faults or `until_s` seconds; one of
    both must be given.
    """

    seed: int
    kinds: list[str]
    rate_per_minute: float = 6.0
    seconds: float = 1.0
    seconds_max: float = 5.0
    count: int | None = None
    until_s: float | None = None

    def check(self) -> None:
        """Raise InvalidInputError naming what is wrong."""
        if not self.kinds:
            raise InvalidInputError("plan.kinds is empty")
        if not 0 < self.rate_per_minute <= 6000:
            raise InvalidInputError("plan.rate_per_minute must be above 0 and at most 6000")
        if not 0 <= self.seconds <= self.seconds_max <= 3600:
            raise InvalidInputError("plan: seconds must be at most seconds_max, 0 to 3600")
        if self.count is None and self.until_s is None:
            raise InvalidInputError("plan: one of count and until_s must be given")
        if self.count is not None and self.count < 1:
            raise InvalidInputError("plan.count must be at least 1")
        if self.until_s is not None and not 0 < self.until_s <= 86_400:
            raise InvalidInputError("plan.until_s must be above 0 and at most 86400")


class PlannedFault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a plan: on from `at_s` after its start, for `seconds`."""

    number: int
    kind: str
    at_s: float
    seconds: float


def schedule(plan: Plan) -> Iterator[PlannedFault]:
    """Yield the plan's faults in the order of their beginning."""
    at_s, number = 0.0, 0
    while plan.count is None or number < plan.count:
        number += 1
        chance = 1.0 - draw(plan.seed, "gap", number)
        at_s += -math.log(chance) * 60.0 / plan.rate_per_minute
        if plan.until_s is not None and at_s > plan.until_s:
            return
        kind = plan.kinds[int(draw(plan.seed, "kind", number) * len(plan.kinds))]
        share = draw(plan.seed, "length", number)
        seconds = plan.seconds + share * (plan.seconds_max - plan.seconds)
        yield PlannedFault(number=number, kind=kind, at_s=round(at_s, 6), seconds=round(seconds, 6))
