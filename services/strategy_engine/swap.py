"""What is to be swapped for what, and how the new one did on the bars of the old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy import Runner
from libs.common.strategy.loader import Loaded
from services.strategy_engine.configuration import Given
from services.strategy_engine.streams import why


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


def prove(
    loaded: Loaded, runner: Runner, old: Runner | None, symbol: str, history: np.ndarray, bars: int
) -> Proof:
    """Step the new runner, and a fresh one of the old kind, over `history`; none of it is stored.

    The last `bars` count, those before fill the memories. Raises InvalidInputError with file,
    line and bar for a step that raises or decides out of range.
    """
    new = standing(loaded, runner, symbol, history)
    if old is None:
        return Proof(symbol, min(bars, len(history)), 0, int(new.signals[-bars:].sum()), 0)
    kept = standing(loaded, old, symbol, history)
    differing = (new.targets != kept.targets) & ~(np.isnan(new.targets) & np.isnan(kept.targets))
    return Proof(
        symbol,
        min(bars, len(history)),
        int(kept.signals[-bars:].sum()),
        int(new.signals[-bars:].sum()),
        int(differing[-bars:].sum()),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """`targets`: shape (k,), f8, the wished position after each bar, NaN before the first.
    `signals`: shape (k,), bool."""

    targets: np.ndarray
    signals: np.ndarray


def standing(loaded: Loaded, runner: Runner, symbol: str, bars: np.ndarray) -> Standing:
    """Step `runner` over `bars`. Raises InvalidInputError with file, line and bar."""
    if not len(bars):
        return Standing(np.zeros(0), np.zeros(0, np.bool_))
    try:
        steps = runner.run(bars)
    except Exception as error:  # a user's code may raise anything
        later = bars["ts"][bars["ts"] > runner.ts]
        at = int(later[0]) if len(later) else runner.ts
        raise InvalidInputError(f"{symbol}: {why(error, at, loaded.path)}") from error
    targets = steps.decisions["target"]
    last = np.maximum.accumulate(np.where(np.isnan(targets), -1, np.arange(len(targets))))
    held = np.where(last < 0, np.nan, targets[np.maximum(last, 0)])
    return Standing(held, steps.changed)


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
