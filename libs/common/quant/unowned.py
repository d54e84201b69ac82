"""Arrays without owner and length, for compiled code that hands them from function to function.

Numba hands an array over as seven words, counts its owners up and down with atomic instructions,
and asks at each index whether it is negative; in a kernel of small functions that was more than
half of the time of an order. Rows are one address. They are valid while the caller of the kernel
holds the array, and must not leave it; an index is at least 0, and nothing checks it.
"""

# Numba annotates little of what extends it.
# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from __future__ import annotations

import operator
from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model


class Rows(types.Type):
    """Numba's type of an address at which there is one `dtype` after the other."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Rows({dtype})")


@register_model(Rows)
class _RowsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, rows: Rows) -> None:
        kept = manager.lookup(rows.dtype).get_data_type()
        super().__init__(manager, rows, kept.as_pointer())


@infer_global(operator.getitem)
class _RowsItem(AbstractTemplate):
    def generic(self, given: Any, _named: Any) -> Any:
        """Return the signature of `rows[index]`."""
        rows, index = given
        if isinstance(rows, Rows) and isinstance(index, types.Integer):
            return signature(rows.dtype, rows, types.intp)
        return None


@lower_builtin(operator.getitem, Rows, types.Integer)
def _item(context: Any, builder: Any, called: Any, given: Any) -> Any:
    return context.unpack_value(builder, called.return_type, builder.gep(given[0], [given[1]]))


@infer_global(operator.setitem)
class _RowsPlace(AbstractTemplate):
    def generic(self, given: Any, _named: Any) -> Any:
        """Return the signature of `rows[index] = value`, for numbers."""
        rows, index, _ = given
        if isinstance(rows, Rows) and isinstance(index, types.Integer):
            return signature(types.none, rows, types.intp, rows.dtype)
        return None


@lower_builtin(operator.setitem, Rows, types.Integer, types.Number)
def _place(context: Any, builder: Any, called: Any, given: Any) -> Any:
    rows, index, value = given
    context.pack_value(builder, called.args[2], value, builder.gep(rows, [index]))
    return context.get_dummy_value()


def _rows(_typing_context: Any, array: Any) -> Any:
    """Return the rows of an array (one-dimensional, C-contiguous)."""
    assert array.ndim == 1
    assert array.layout == "C"

    def generate(context: Any, builder: Any, called: Any, given: Any) -> Any:
        return context.make_array(called.args[0])(context, builder, given[0]).data

    return signature(Rows(array.dtype), array), generate


def _beyond(_typing_context: Any, rows: Any, count: Any) -> Any:
    """Return the rows that begin `count` further on."""

    def generate(_context: Any, builder: Any, _called: Any, given: Any) -> Any:
        return builder.gep(given[0], [given[1]])

    return signature(rows, rows, types.intp), generate


def _fleeting(_typing_context: Any, like: Any) -> Any:
    """Return a record with the fields of `like`, of undefined values, that lives as long as the
    call of the function it is made in. Where nothing but inlined code sees it, its fields are
    registers."""

    def generate(context: Any, builder: Any, called: Any, _given: Any) -> Any:
        place = cgutils.alloca_once(builder, context.get_data_type(called.return_type))
        place.align = 8
        return place

    return signature(like, like), generate


# Any: Numba's own annotations know these as what they are outside compiled code.
rows_of: Any = intrinsic(_rows)
beyond: Any = intrinsic(_beyond)
fleeting: Any = intrinsic(_fleeting)
