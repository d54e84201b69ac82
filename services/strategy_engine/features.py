"""What a decision saw: the numbers in the strategy's state, by name."""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.strategy.protocol import Stepper

_FEATURES_MAX: Final = 32
_FILLER: Final = "reserved"


def features_of(runner: Stepper) -> dict[str, float]:
    """Return the finite numbers of the state, those of an indicator as `name.field`.

    Arrays and text are left out, and what comes after the first 32 numbers.
    """
    found: dict[str, float] = {}
    for name, value in runner.shown()["state"].items():
        parts = value if isinstance(value, dict) else {"": value}
        for field, part in parts.items():
            number = _number(part)
            if number is not None and name != _FILLER and len(found) < _FEATURES_MAX:
                found[f"{name}.{field}" if field else name] = number
    return found


def _number(value: Any) -> float | None:
    if not isinstance(value, bool | int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
