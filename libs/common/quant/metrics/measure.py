"""What every metric has in common: an undefined number is NaN, never a warning or an error."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final, ParamSpec

import numpy as np
import numpy.typing as npt

P = ParamSpec("P")
Floats = npt.NDArray[np.float64]

# A return is a quotient of two prices less one: it is known to about 4e-16. What varies by less
# than this does not vary.
ROUNDING: Final = 1e-14


def measure(least: int) -> Callable[[Callable[P, Any]], Callable[P, float]]:
    """Return a decorator for functions of arrays that give one number.

    The number is NaN if an array has fewer than `least` values, or one that is NaN or infinite,
    or if the result is not finite. The function itself meets float64 arrays only.
    """

    def decorate(function: Callable[P, Any]) -> Callable[P, float]:
        @functools.wraps(function)
        def measured(*args: P.args, **kwargs: P.kwargs) -> float:
            given = [np.asarray(a, np.float64) if _is_array(a) else a for a in args]
            arrays = [a for a in given if isinstance(a, np.ndarray)]
            if any(len(a) < least or not np.isfinite(a).all() for a in arrays):
                return math.nan
            with np.errstate(all="ignore"):
                value = float(function(*given, **kwargs))  # type: ignore[arg-type]
            return value if math.isfinite(value) else math.nan

        return measured

    return decorate


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray | list | tuple)


def varies(values: Floats) -> bool:
    """Tell whether `values` differ by more than rounding does."""
    spread = values.max() - values.min()
    return bool(spread > max(ROUNDING, 4 * np.finfo(np.float64).eps * np.abs(values).max()))


def deviation(values: Floats) -> np.float64:
    """Return the sample standard deviation (n - 1); 0 if they do not vary."""
    return np.float64(np.std(values, ddof=1)) if varies(values) else np.float64(0.0)


def per_period(annual: float, periods: float) -> float:
    """Return the rate a period that compounds to `annual` in `periods` of them."""
    return float((1.0 + annual) ** (1.0 / periods) - 1.0)
