"""Opinions of several strategies on one symbol made into one target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, assert_never

QUALITY_UNPROVEN: Final = 0.5
QUALITY_MIN: Final = 0.1


class Conflict(IntEnum):
    """What is done about opinions that differ."""

    NET = 0
    """The mean by strength: opposite opinions cancel as far as they are equally strong."""
    AGREE = 1
    """That mean if all have the same sign, else 0. Being flat is an opinion, too."""
    STRONGEST = 2
    """The target of whoever pulls most (see `Opinion.pull`), the first of those that tie."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a strategy wishes: `target` in [-1, 1], `confidence` in [0, 1], `weight` above 0,
    `quality` in [0.1, 1], `decay` in [0, 1] (see `decay_of`)."""

    target: float
    weight: float
    confidence: float
    quality: float
    decay: float

    @property
    def strength(self) -> float:
        """Return weight * confidence * quality * decay."""
        return self.weight * self.confidence * self.quality * self.decay

    @property
    def pull(self) -> float:
        """Return strength * |target|."""
        return self.strength * abs(self.target)


@dataclass(frozen=True, slots=True)
class Fused:
    """The common target; `leader`: the index of the opinion that pulls most to the target's side,
    None if the target is 0."""

    target: float
    confidence: float
    leader: int | None


def fuse(opinions: Sequence[Opinion], conflict: Conflict) -> Fused | None:
    """Return one target for all opinions; None if there is none, or none of any strength.

    With s_i the strengths, NET is sum(s_i t_i) / sum(s_i), never outside the targets; the
    confidence is sum(s_i) / sum(s_i / c_i), the mean by all else that makes a strength.
    Targets 1 and -0.5, weights 2 and 1, all else 1: NET (2 - 0.5) / 3 = 0.5, AGREE 0, STRONGEST 1.
    """
    total = sum(opinion.strength for opinion in opinions)
    if total <= 0.0:
        return None
    target = _target(opinions, conflict, total)
    others = sum(o.weight * o.quality * o.decay for o in opinions)
    siding = [i for i, o in enumerate(opinions) if o.pull > 0.0 and o.target * target > 0.0]
    leader = max(siding, key=lambda i: opinions[i].pull, default=None)
    return Fused(target, min(total / others, 1.0), leader)


def _target(opinions: Sequence[Opinion], conflict: Conflict, total: float) -> float:
    targets = [opinion.target for opinion in opinions]
    net = sum(opinion.strength * opinion.target for opinion in opinions) / total
    # A mean may leave its hull by the last bit.
    net = min(max(net, min(targets)), max(targets))
    match conflict:
        case Conflict.NET:
            return net
        case Conflict.AGREE:
            agreed = all(t > 0.0 for t in targets) or all(t < 0.0 for t in targets)
            return net if agreed else 0.0
        case Conflict.STRONGEST:
            return max(opinions, key=lambda opinion: opinion.pull).target
        case _:
            assert_never(conflict)


def decay_of(age: int, half_life: int) -> float:
    """Return 0.5 ** (age / half_life), both in bars; 1 if `half_life` is 0.

    After 30 bars of a half-life of 60: 0.7071.
    """
    return 0.5 ** (age / half_life) if half_life else 1.0


def quality_of(gains: float, losses: float, trips: int, trips_min: int) -> float:
    """Return gains / (gains + losses) of the trips so far, at least 0.1.

    `gains` and `losses` (not negative) are the sums of the returns of trips that gained and lost:
    0.06 and 0.02 -> 0.75; a profit factor F is F / (1 + F). Before `trips_min` trips, and if
    nothing moved, 0.5: neither better nor worse than who breaks even.
    """
    if trips < trips_min or gains + losses <= 0.0:
        return QUALITY_UNPROVEN
    return max(gains / (gains + losses), QUALITY_MIN)


def banded(wished: float, stated: float, band: float) -> float:
    """Return `stated` while `wished` is on the same side (or both are flat) and less than `band`
    away from it, else `wished`; a NaN in `stated` is no statement.

    0.55 after 0.5 with a band of 0.1: 0.5; -0.02 after 0.02: -0.02.
    """
    same_side = (wished > 0.0) == (stated > 0.0) and (wished < 0.0) == (stated < 0.0)
    return stated if same_side and abs(wished - stated) < band else wished
