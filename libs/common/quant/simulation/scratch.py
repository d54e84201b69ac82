"""Memory for the arrays of one run after the other."""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np

# Below this it does not matter how much more is held than is used.
_SMALL_BYTES = 1 << 20


class Scratch(threading.local):
    """Hands out arrays of undefined values, a thread's own; what nobody holds any more is handed
    out again. Fresh memory costs a page fault every 4096 bytes, in a short run more than the run.
    """

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return an array. Memory is kept by `name`: the last one's, for the next."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        kept = self._kept.pop(name, None)
        # Views hold the whole, so without any there are two references: ours, and the argument.
        if (
            kept is None
            or not size <= kept.nbytes <= max(2 * size, _SMALL_BYTES)
            or sys.getrefcount(kept) > 2
        ):
            kept = np.empty(size, np.uint8)
        self._kept[name] = kept
        array: np.ndarray = kept[:size].view(dtype).reshape(shape)
        return array


scratch = Scratch()
