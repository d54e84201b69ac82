"""How much of what comes through the gateway a process takes: of an address, of a token or key.

In memory and in the process: a request waits for nobody. Who may log in how often, and a key's own
rate, are counted for all services together instead (`rates`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from libs.common.kernel.clock import NS_PER_SECOND

KEYS_MAX: Final = 10_000
BURST_S: Final = 2.0
"""What may come at once is what may come in this time."""
CALLER_BYTES: Final = 43
"""The end of a token is its signature, the end of a key its secret: either tells it apart."""


class Pace:
    """So many a second for each key, and those of `BURST_S` at once.

    The generic cell rate algorithm (ITU-T I.371, virtual scheduling): for each key the time at
    which its requests, had they come evenly, would have ended. At most `keys_max` keys are
    remembered; the one that was longest away is forgotten first.
    """

    def __init__(self, per_second: float, keys_max: int = KEYS_MAX) -> None:
        self._step_ns = NS_PER_SECOND / per_second
        self._ahead_ns_max = max(BURST_S * NS_PER_SECOND - self._step_ns, 0.0)
        self._keys_max = keys_max
        self._due_ns: OrderedDict[int, float] = OrderedDict()

    def wait_s(self, key: int, now_ns: int) -> float:
        """Count one more of `key` and return 0, or return how long it should wait, not counted."""
        due_ns = max(self._due_ns.get(key, 0.0), now_ns)
        ahead_ns = due_ns - now_ns
        if ahead_ns > self._ahead_ns_max:
            return (ahead_ns - self._ahead_ns_max) / NS_PER_SECOND
        self._due_ns[key] = due_ns + self._step_ns
        self._due_ns.move_to_end(key)
        if len(self._due_ns) > self._keys_max:
            self._due_ns.popitem(last=False)
        return 0.0


@dataclass(frozen=True, slots=True)
class TooMany:
    """A refusal: `of` an address, of a caller, or at once; and when to come again."""

    of: str
    retry_after_s: int


class Throttle:
    """Lets requests in and hears when they are done."""

    def __init__(self, *, per_second: float, caller_per_second: float, at_once: int) -> None:
        self._addresses = Pace(per_second)
        self._callers = Pace(caller_per_second)
        self._at_once_max = at_once
        self._at_once: dict[int, int] = {}

    def enter(self, address: int, caller: int | None, now_ns: int) -> TooMany | None:
        """Let one request in, to be followed by `leave`; or refuse it."""
        if self._at_once.get(address, 0) >= self._at_once_max:
            return TooMany("at_once", 1)
        wait_s = self._addresses.wait_s(address, now_ns)
        if wait_s > 0:
            return TooMany("address", math.ceil(wait_s))
        wait_s = self._callers.wait_s(caller, now_ns) if caller is not None else 0.0
        if wait_s > 0:
            return TooMany("caller", math.ceil(wait_s))
        self._at_once[address] = self._at_once.get(address, 0) + 1
        return None

    def leave(self, address: int) -> None:
        """Note that a request that was let in is done."""
        left = self._at_once[address] - 1
        if left:
            self._at_once[address] = left
        else:
            del self._at_once[address]
