"""What is to be swapped for what, and how the new one did on the bars of the old one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy.errors import StepError
from services.strategy_engine.configuration import Given
from services.strategy_engine.streams import Stream
from services.strategy_engine.worker import WorkerEndedError


class Swap(BaseModel):
    """New code or parameters for a strategy that goes on running.

    Without `class_name` the file of its own class is loaded anew. `params` are laid over the
    present ones where the class stays, over the defaults where it changes. The new one is proven on
    the last `replay_bars` stored bars, then goes along for `shadow_bars` live ones. `rollback`
    leads back to what ran before the last swap.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")] | None = None
    params: Given | None = None
    replay_bars: Annotated[int, Field(ge=1, le=5000)] = 200
    shadow_bars: Annotated[int, Field(ge=0, le=1000)] = 0
    rollback: StrictBool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.rollback and (self.class_name is not None or self.params is not None):
            raise ValueError("rollback goes to what ran before; leave class_name and params away")
        return self


@dataclass(frozen=True, slots=True)
class Proof:
    """A strategy beside the one that it replaces, on the same stored bars of one symbol.

    `differing`: on how many bars the wished position is another one.
    """

    symbol: str
    bars: int
    signals_old: int
    signals_new: int
    differing: int


async def replayed(stream: Stream, history: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Step a stream over stored bars, in a thread or its own process; return its signals (SIGNAL).

    Nothing of it is stored. Raises InvalidInputError with file, line and bar.
    """
    if stream.worker is None:
        try:
            return await asyncio.to_thread(stream.runner.decide, history)
        except StepError as error:
            raise InvalidInputError(str(error)) from error
    memory = stream.runner.save() if stream.runner.ts else None
    try:
        signals, done = await stream.worker.replay(stream.symbols, memory, history)
    except WorkerEndedError as error:
        raise InvalidInputError(str(error)) from error
    stream.runner.restore(done.memory)
    if done.error:
        raise InvalidInputError(done.error)
    return signals


def proof_of(symbol: str, count: int, bars: int, new: np.ndarray, old: np.ndarray | None) -> Proof:
    """Return how signals (SIGNAL) over `count` bars compare on the last `bars` of them."""
    shown = min(bars, count)
    since = count - shown
    signals_new = int((new["index"] >= since).sum())
    if old is None:
        return Proof(symbol, shown, 0, signals_new, 0)
    ours, theirs = held(new, count)[since:], held(old, count)[since:]
    differing = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
    signals_old = int((old["index"] >= since).sum())
    return Proof(symbol, shown, signals_old, signals_new, int(differing.sum()))


def held(signals: np.ndarray, count: int) -> np.ndarray:
    """Return the wished position after each of `count` bars, shape (count,), NaN before the first
    signal."""
    targets = np.full(count, np.nan)
    rows = signals[signals["index"] >= 0]
    targets[rows["index"]] = rows["target"]
    last = np.maximum.accumulate(np.where(np.isnan(targets), -1, np.arange(count)))
    return np.where(last < 0, np.nan, targets[np.maximum(last, 0)])


def swap_view(proofs: Mapping[str, Proof], *, status: str, **more: Any) -> dict[str, Any]:
    """Return how a swap stands or went."""
    return {
        "status": status,
        "proof": [
            {
                "symbol": proof.symbol,
                "bars": proof.bars,
                "signals_old": proof.signals_old,
                "signals_new": proof.signals_new,
                "differing": proof.differing,
            }
            for proof in proofs.values()
        ],
        **more,
    }
