"""Bars of longer timeframes, folded out of base bars inside a strategy's memory."""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from numba import types

from libs.common.quant.compile import compiled, compiled_as
from libs.common.quant.simulation.loop import INVALID, clear, settle
from libs.common.quant.simulation.records import BAR, DECISION

_BAR_FIELDS: Final = [(name, BAR[name]) for name in BAR.names or ()]

FRAME: Final = np.dtype([*_BAR_FIELDS, ("fresh", "?")], align=True)
"""The last closed bar of a longer timeframe: BAR's fields (before the first: ts 0, prices NaN)
and `fresh`: it came with the very base bar of this step."""

BUCKET: Final = np.dtype([*_BAR_FIELDS, ("count", "i8")], align=True)
"""A longer bar that no step may see yet, and how many base bars are in it (0: none)."""


def framed_memory(memory: np.dtype[np.void], frames: int) -> np.dtype[np.void]:
    """Return `memory` with room for `frames` longer timeframes."""
    fields = [(name, memory[name]) for name in memory.names or ()]
    longer = [
        ("frames", FRAME, (frames,)),
        ("forming", BUCKET, (frames,)),
        ("queued", BUCKET, (frames,)),
    ]
    # In front: Numba takes a record that begins like another one for its subtype, with a warning.
    return np.dtype([*longer, *fields], align=True)


def blank_frames(frames: np.ndarray) -> None:
    """Make `frames` (FRAME) those of a time before the first longer bar."""
    for name in ("open", "high", "low", "close"):
        frames[name] = np.nan


@compiled
def _copy(target: Any, source: Any) -> None:
    target.ts = source.ts
    target.open = source.open
    target.high = source.high
    target.low = source.low
    target.close = source.close
    target.volume = source.volume


@compiled
def _give(frame: Any, queued: Any, bucket: Any) -> None:
    """Close `bucket`: into the frame, or, where that holds news already, behind it."""
    if frame.fresh:
        _copy(queued, bucket)
        queued.count = bucket.count
    else:
        _copy(frame, bucket)
        frame.fresh = True
    bucket.count = 0


@compiled
def fold(frames: Any, forming: Any, queued: Any, spans: Any, bar: Any) -> None:
    """Take one base bar into the longer bars; `frames` then holds what a step may see of them.

    `spans` (i8, ns): the base bar's, then each longer timeframe's. A longer bar is closed by the
    base bar that ends it, or, where that one is missing, by the first base bar after it. Where one
    base bar closes two (the one before a gap and, ending it, its own), the second is given with the
    next base bar, so that every longer bar is fresh exactly once.
    """
    for i in range(frames.shape[0]):
        frame, bucket, behind = frames[i], forming[i], queued[i]
        start = bar.ts - bar.ts % spans[i + 1]
        frame.fresh = behind.count > 0
        if frame.fresh:
            _copy(frame, behind)
            behind.count = 0
        if bucket.count > 0 and bucket.ts != start:
            _give(frame, behind, bucket)
        if bucket.count == 0:
            _copy(bucket, bar)
            bucket.ts = start
        else:
            bucket.high = max(bucket.high, bar.high)
            bucket.low = min(bucket.low, bar.low)
            bucket.close = bar.close
            bucket.volume += bar.volume
        bucket.count += 1
        if bar.ts + spans[0] >= start + spans[i + 1]:
            _give(frame, behind, bucket)


def _loop(
    step: Any,
    memory: Any,
    frames: Any,
    forming: Any,
    queued: Any,
    spans: Any,
    bars: Any,
    params: Any,
    decisions: Any,
    marks: Any,
) -> int:
    for i in range(bars.shape[0]):
        clear(decisions[i])
        fold(frames, forming, queued, spans, bars[i])
        step(memory.state, bars[i], frames, params, decisions[i])
        marks[i] = settle(memory, bars[i], decisions[i])
        if marks[i] == INVALID:
            return i + 1
    return int(bars.shape[0])


def framed_signature(state: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return Numba's signature of a step over these records that reads longer timeframes."""
    return types.void(
        numba.from_dtype(state),
        numba.from_dtype(BAR),
        numba.from_dtype(FRAME)[::1],
        numba.from_dtype(params),
        numba.from_dtype(DECISION),
    )


def build_framed_loop(memory: np.dtype[np.void], params: np.dtype[np.void]) -> Any:
    """Return the compiled loop of `build_loop` for steps that read longer timeframes.

    `loop(step, memory, frames, forming, queued, spans, bars, params, decisions, marks) -> n`;
    frames, forming and queued are views into the memory's arrays of these names.
    """
    signature = types.int64(
        types.FunctionType(framed_signature(memory["state"], params)),
        numba.from_dtype(memory),
        numba.from_dtype(FRAME)[::1],
        numba.from_dtype(BUCKET)[::1],
        numba.from_dtype(BUCKET)[::1],
        types.int64[::1],
        numba.from_dtype(BAR)[::1],
        numba.from_dtype(params),
        numba.from_dtype(DECISION)[::1],
        types.int8[::1],
    )
    return compiled_as(signature, _loop)
