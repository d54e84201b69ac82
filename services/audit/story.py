"""A story: everything that one tick, signal, order or trade led to, in order, with the gaps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

import msgspec

# The way of a tick: breaks ties between steps written in the same microsecond.
KINDS: Final = (
    "bar",
    "signal",
    "judgement",
    "approval",
    "order_event",
    "trade",
    "ledger",
    "alert",
    "event",
)
UNPUBLISHED: Final = frozenset({"bar", "ledger"})
"""Kinds that stand in tables only: they travel on no log channel."""
_RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    `ts` is wall time, when it was written down (None for a bar, which carries market time only);
    `ts_event` market time, where the step has one.
    `key` is what the step is known by, so that the same step read from the audit log and from
    a table is one. `seq` is its row of the audit log; None if it is not recorded there (yet).
    `place` orders steps of one kind and instant.
    """

    kind: str
    key: str
    title: str
    service: str
    ts: dt.datetime | None
    ts_event: dt.datetime | None = None
    seq: int | None = None
    place: int = 0
    details: dict[str, Any] = {}


class TimedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step with the wall milliseconds since the one before and since the first."""

    step: Step
    since_previous_ms: float | None
    since_start_ms: float | None


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All steps in order. `unrecorded` counts steps that the audit log does not hold yet."""

    id: str
    steps: list[TimedStep]
    duration_ms: float
    unrecorded: int


def tell(story_id: str, steps: Iterable[Step]) -> Story:
    """Return the steps once each, oldest first; equal times keep the way of a tick."""
    once: dict[tuple[str, str], Step] = {}
    for step in steps:
        known = once.get((step.kind, step.key))
        if known is None or (known.seq is None and step.seq is not None):
            once[step.kind, step.key] = step
    unwritten = [step for step in once.values() if step.ts is None]
    written = sorted(
        ((step.ts, step) for step in once.values() if step.ts is not None),
        key=lambda pair: (pair[0], _RANK[pair[1].kind], pair[1].place, pair[1].key),
    )
    timed = [
        TimedStep(step=step, since_previous_ms=None, since_start_ms=None)
        for step in sorted(unwritten, key=lambda step: step.key)
    ]
    for index, (ts, step) in enumerate(written):
        timed.append(
            TimedStep(
                step=step,
                since_previous_ms=_ms(ts - written[max(index - 1, 0)][0]),
                since_start_ms=_ms(ts - written[0][0]),
            )
        )
    return Story(
        id=story_id,
        steps=timed,
        duration_ms=_ms(written[-1][0] - written[0][0]) if written else 0.0,
        unrecorded=sum(step.seq is None and step.kind not in UNPUBLISHED for _, step in written),
    )


def _ms(delta: dt.timedelta) -> float:
    return delta / dt.timedelta(microseconds=1) / 1000
