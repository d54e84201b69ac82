"""A fusion with its members on one symbol: steps them, keeps their record, states one decision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.quant.fusion import Conflict, Fused, Opinion, banded, decay_of, fuse, quality_of
from libs.common.quant.simulation.loop import CHANGED, INVALID, judge
from libs.common.quant.simulation.records import (
    BAR,
    DECISION,
    SIGNAL,
    forget_stated,
    memory_of,
    new_memory,
)
from libs.common.strategy.definition import Definition, narrowed
from libs.common.strategy.errors import LayoutError
from libs.common.strategy.fusion import FusionDefinition, members_of
from libs.common.strategy.held import Held
from libs.common.strategy.memory import from_bytes, layout_hash, to_bytes, to_plain
from libs.common.strategy.protocol import Stated
from libs.common.strategy.runner import Runner

_RECORD: Final = np.dtype(
    [
        ("opinion", DECISION),
        ("age", "i8"),
        ("wished", "f8"),
        ("side", "f8"),
        ("entry", "f8"),
        ("gains", "f8"),
        ("losses", "f8"),
        ("trips", "i8"),
    ],
    align=True,
)
"""A member: its last signal and how many bars ago that was; its trips on paper: the target wished
at the last close, the side held (-1, 0, 1) since `entry`, and what past trips returned."""


class FusionRunner(Held[FusionDefinition]):
    """Holds the members' memories and its own; a step is that of each member, then the fusion.

    All that goes into the target comes of the bars: the same bars give the same signals.
    """

    def __init__(
        self,
        definition: Definition,
        params: Mapping[str, object],
        symbol: str = "",
        timeframe: Timeframe | None = None,
    ) -> None:
        self.definition = narrowed(definition, FusionDefinition)
        self.params = definition.parse(params)
        self.symbols = (symbol,)
        self._conflict = Conflict(int(self.params["conflict"]))
        self._members = {
            label: Runner(
                self.definition.member(label),
                {name: value for name, value in given.items() if name != "weight"},
                symbol,
                timeframe,
            )
            for label, given in members_of(self.params).items()
        }
        state = np.dtype([("members", _RECORD, (len(self._members),))], align=True)
        self._dtype = memory_of(state)
        layouts = {label: member.layout for label, member in self._members.items()}
        self.layout = layout_hash(self._dtype, {**self.params, "the members": layouts})
        self._decision: np.void = np.zeros(1, DECISION)[0]
        self._memory = new_memory(self._dtype)
        for record in self._records:
            record["opinion"]["target"] = math.nan

    def take(self, bars: Mapping[str, np.void]) -> tuple[Stated, ...]:
        """Take one bar, by symbol; return the signal if there is one. Raises StepError."""
        (symbol,) = self.symbols
        return (Stated(symbol, self._decision.copy()),) if self._step(bars[symbol]) else ()

    def decide(self, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take many bars; return the signals (SIGNAL). Raises StepError."""
        (symbol,) = self.symbols
        found = []
        for index, bar in enumerate(np.asarray(history[symbol], BAR)):
            if self._step(bar):
                found.append((index, *self._decision.tolist()))
        return {symbol: np.array(found, SIGNAL)}

    def warm(self, history: Mapping[str, np.ndarray]) -> None:
        """Take history: nothing of it is a signal, the next decision with a target is."""
        self.decide(history)
        self.forget_stated()

    def forget_stated(self) -> None:
        """Make the next decision with a target a signal, even if it repeats the last."""
        forget_stated(self._memory)

    def shown(self) -> dict[str, Any]:
        """Return what each member contributes (`state`, by its label), and what was stated."""
        state = {
            label: {
                name: to_plain(getattr(opinion, name))
                for name in ("target", "weight", "confidence", "decay", "quality")
            }
            for label, opinion in self._opinions().items()
        }
        stated = {symbol: to_plain(self._memory["stated"]) for symbol in self.symbols}
        return {"state": state, "stated": stated, "bars": self.bars, "ts": self.ts}

    def save(self) -> bytes:
        """Return the memories as bytes."""
        members = (member.save() for member in self._members.values())
        return b"".join((to_bytes(self._memory), *members))

    def restore(self, data: bytes) -> None:
        """Take back the memories from `save`. Raises LayoutError if the bytes do not fit."""
        sizes = [member.definition.memory.itemsize for member in self._members.values()]
        if len(data) != self._dtype.itemsize + sum(sizes):
            raise LayoutError(f"saved state has {len(data)} bytes, not those of these members")
        place = self._dtype.itemsize
        self._memory = from_bytes(data[:place], self._dtype)
        for size, member in zip(sizes, self._members.values(), strict=True):
            member.restore(data[place : place + size])
            place += size

    @property
    def _records(self) -> np.ndarray:
        records: np.ndarray = self._memory["state"]["members"]
        return records

    def _opinions(self) -> dict[str, Opinion]:
        """Return the opinions of those members that have one."""
        half_life, trips_min = int(self.params["half_life"]), int(self.params["trips_min"])
        return {
            label: Opinion(
                float(record["opinion"]["target"]),
                float(self.params[f"{label}.weight"]),
                float(record["opinion"]["confidence"]),
                quality_of(
                    float(record["gains"]), float(record["losses"]), int(record["trips"]), trips_min
                ),
                decay_of(int(record["age"]), half_life),
            )
            for label, record in zip(self._members, self._records, strict=True)
            if not math.isnan(record["opinion"]["target"])
        }

    def _step(self, bar: np.void) -> bool:
        """Step all members and fuse; tell whether `_decision` is a signal."""
        rebalance = False
        for member, record in zip(self._members.values(), self._records, strict=True):
            _trade(record, float(bar["open"]))
            if member.step(bar):
                record["opinion"], record["age"] = member.decision, 0
                record["wished"] = member.decision["target"]
                rebalance = rebalance or member.decision["rebalance"] == 1.0
            else:
                record["age"] += 1
        self._memory["bars"] += 1
        self._memory["ts"] = bar["ts"]
        opinions = self._opinions()
        fused = fuse(list(opinions.values()), self._conflict)
        if fused is None:
            return False
        leader = None if fused.leader is None else list(opinions)[fused.leader]
        self._write(fused, leader, rebalance)
        mark = judge(self._memory["stated"], self._decision)
        assert mark != INVALID, "members' decisions are in range, and so is what lies between them"
        return bool(mark == CHANGED)

    def _write(self, fused: Fused, leader: str | None, rebalance: bool) -> None:
        """Write the decision; the leader's stop and take-profit go with the target to its side."""
        stated, decision = self._memory["stated"], self._decision
        target = banded(fused.target, float(stated["target"]), float(self.params["band"]))
        decision["target"], decision["confidence"] = target, fused.confidence
        decision["limit"] = decision["stop"] = decision["take_profit"] = math.nan
        if leader is not None:
            opinion = self._records[list(self._members).index(leader)]["opinion"]
            decision["stop"], decision["take_profit"] = opinion["stop"], opinion["take_profit"]
        decision["rebalance"] = float(rebalance)


def _trade(record: np.void, price: float) -> None:
    """Carry out on paper, at a bar's open, what the member wished at the close before.

    A trip lasts while the side does, whatever the size; it costs nothing. Long from 100, flat at
    103: a gain of 0.03. Short from 100, long at 103: a loss of 0.03, and a new trip from 103.
    """
    side = float(np.sign(record["wished"]))
    if side == record["side"]:
        return
    if record["side"] != 0.0:
        earned = float(record["side"] * (price / record["entry"] - 1.0))
        record["gains" if earned > 0.0 else "losses"] += abs(earned)
        record["trips"] += 1
    record["side"], record["entry"] = side, price
