"""The one source of chance, and the weather that a session has by it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import log
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws by the seed; the same seed draws the same for ever, whatever the process."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # A string is hashed by SHA-512, not by the process's salt.
        source = random.Random(f"tradewind {seed}")
        self._roll = source.random
        self._bits = source.getrandbits

    def chance(self, probability: float) -> bool:
        """Return True with that probability."""
        return self._roll() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number from the range, evenly."""
        return low + (high - low) * self._roll()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from the range, both ends included."""
        return low + self._below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self._below(len(options))]

    def latency(self) -> float:
        """Return the seconds that one way of a request usually takes: about a millisecond."""
        return 0.0002 - log(1.0 - self._roll()) / 1000.0

    def _below(self, number: int) -> int:
        """Return one of 0 … number - 1, evenly: bits are drawn until they make one."""
        size = number.bit_length()
        drawn = self._bits(size)
        while drawn >= number:
            drawn = self._bits(size)
        return drawn


# What a fault may be worth in a session: half of them do not occur at all, so that a seed often
# shows one fault undisturbed, and sometimes many at once (swarm testing, Groce et al. 2012).
_LEVELS = (0.0, 0.0, 0.0, 0.01, 0.03, 0.1, 0.3)


@dataclass
class Weather:
    """Probabilities of each fault, per call, message or event; all zero when it is calm."""

    store_refused: float = 0.0
    store_answer_lost: float = 0.0
    store_slow: float = 0.0
    store_outage: float = 0.0
    bus_late: float = 0.0
    bus_twice: float = 0.0
    bus_flush: float = 0.0
    broadcast_lost: float = 0.0
    outbox_skips: float = 0.0
    risk_unreachable: float = 0.0
    broker_refused: float = 0.0
    broker_request_lost: float = 0.0
    broker_answer_lost: float = 0.0
    broker_arrives_late: float = 0.0
    broker_ghost: float = 0.0
    broker_slow: float = 0.0
    broker_outage: float = 0.0
    venue_blind: float = 0.0
    venue_rejects: float = 0.0
    venue_ends: float = 0.0
    venue_suspends: float = 0.0
    venue_odd_word: float = 0.0
    venue_partial: float = 0.0
    venue_cancel_slow: float = 0.0
    venue_cancel_refused: float = 0.0
    venue_leak: float = 0.0
    stream_lost: float = 0.0
    stream_twice: float = 0.0
    stream_late: float = 0.0
    stream_cut: float = 0.0
    stream_mute: float = 0.0
    crash: float = 0.0

    @classmethod
    def drawn(cls, dice: Dice) -> Weather:
        """Return the weather of a session."""
        drawn = cls(**{one.name: dice.pick(_LEVELS) for one in fields(cls)})
        drawn.broker_ghost = 0.0 if dice.chance(0.8) else min(0.1, drawn.broker_ghost)
        return drawn

    def calm(self) -> None:
        """End every fault."""
        for one in fields(self):
            setattr(self, one.name, 0.0)

    def become(self, other: Weather) -> None:
        """Take over another weather's probabilities."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))

    def shown(self) -> str:
        """Return the faults that may occur."""
        values = ((one.name, getattr(self, one.name)) for one in fields(self))
        return ", ".join(f"{name} {value:g}" for name, value in values if value) or "calm"
