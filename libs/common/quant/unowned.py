"""Arrays without an owner, for compiled code that hands them from function to function.

Numba counts the owners of an array up and down in every function that takes one, with atomic
instructions; in a kernel of small functions that was half of the time of an order. A view made here
counts nothing: it is valid while the caller of the kernel holds the array, and must not leave it.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from libs.common.quant.compile import compiled


def _as_pointer(typing_context: Any, address: Any) -> Any:
    """Return an address (integer) as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.uintp), generate


# Any: Numba's own annotations know these as what they are outside compiled code.
_pointer: Any = intrinsic(_as_pointer)
_carray: Any = vars(numba)["carray"]


@compiled
def unowned(array: Any) -> Any:
    """Return a view of the whole of `array` (C-contiguous) that counts no owners."""
    return _carray(_pointer(array.ctypes.data), array.shape, array.dtype)
