"""Misspelt fields in a step, found before Numba sees them and says only `KeyError`."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from libs.common.quant.simulation.frames import FRAME
from libs.common.quant.simulation.records import BAR, DECISION
from libs.common.strategy.definition import CompiledDefinition, CrossDefinition, Definition

_READ_ONLY: Final = frozenset({"bar", "bars", "frames", "params"})


def unknown_field(source: str, definition: Definition) -> tuple[int, str] | None:
    """Return line and complaint for the first `state.x`, `bars[i].x`, `params.x` or `out.x` in the
    strategy's step that names no field or writes to what is only to be read, None if all is well.
    """
    if not isinstance(definition, CompiledDefinition):
        return None
    records, arrays = _fields(definition)
    for node in _attributes(source, definition.class_name):
        record, owner = _record(node.value, records, arrays)
        if record and isinstance(node.ctx, ast.Store) and owner in _READ_ONLY:
            return node.lineno, f"{record}.{node.attr}: {owner} is only to be read"
        known = {**records, **arrays}.get(owner, ())
        if not record or node.attr in known:
            continue
        near = difflib.get_close_matches(node.attr, known, n=2, cutoff=0.6)
        hint = " or ".join(near)
        tail = f"did you mean {hint}?" if near else f"it has {', '.join(known)}"
        return node.lineno, f"{record} has no field {node.attr!r}; {tail}"
    return None


Fields = Mapping[str, Sequence[str]]


def _fields(definition: CompiledDefinition) -> tuple[Fields, Fields]:
    """Return the step's arguments with their fields: those that are records, and arrays of them."""
    bar, out = BAR.names or (), DECISION.names or ()
    records = {
        "state": definition.state.names or (),
        "params": definition.schema.dtype.names or (),
    }
    if isinstance(definition, CrossDefinition):
        return records, {"bars": bar, "out": out}
    return {**records, "bar": bar, "out": out}, {"frames": FRAME.names or ()}


def _record(node: ast.expr, records: Fields, arrays: Fields) -> tuple[str, str]:
    """Return how the step writes a record of its arguments and the argument; '' if it is none."""
    if isinstance(node, ast.Name) and node.id in records:
        return node.id, node.id
    if not isinstance(node, ast.Subscript) or isinstance(node.slice, ast.Slice):
        return "", ""
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    return (ast.unparse(node), owner) if owner in arrays else ("", "")


def _attributes(source: str, class_name: str) -> Iterable[ast.Attribute]:
    for outer in ast.parse(source).body:
        if not (isinstance(outer, ast.ClassDef) and outer.name == class_name):
            continue
        for inner in outer.body:
            if isinstance(inner, ast.FunctionDef) and inner.name == "step":
                yield from (n for n in ast.walk(inner) if isinstance(n, ast.Attribute))
