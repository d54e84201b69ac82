"""Misspelt fields in a step, found before Numba sees them and says only `KeyError`."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable

from libs.common.quant.simulation.records import BAR, DECISION
from libs.common.strategy.definition import Definition


def unknown_field(source: str, definition: Definition) -> tuple[int, str] | None:
    """Return line and complaint for the first `state.x`, `bar.x`, `params.x` or `out.x` in the
    strategy's step that names no field, None if all do."""
    known: dict[str, tuple[str, ...]] = {
        "state": definition.state.names or (),
        "bar": BAR.names or (),
        "params": definition.schema.dtype.names or (),
        "out": DECISION.names or (),
    }
    for node in _attributes(source, definition.class_name):
        record = node.value.id if isinstance(node.value, ast.Name) else ""
        if record not in known or node.attr in known[record]:
            continue
        near = difflib.get_close_matches(node.attr, known[record], n=2, cutoff=0.6)
        hint = " or ".join(near)
        fields = ", ".join(known[record])
        tail = f"did you mean {hint}?" if near else f"it has {fields}"
        return node.lineno, f"{record} has no field {node.attr!r}; {tail}"
    return None


def _attributes(source: str, class_name: str) -> Iterable[ast.Attribute]:
    for outer in ast.parse(source).body:
        if not (isinstance(outer, ast.ClassDef) and outer.name == class_name):
            continue
        for inner in outer.body:
            if isinstance(inner, ast.FunctionDef) and inner.name == "step":
                yield from (n for n in ast.walk(inner) if isinstance(n, ast.Attribute))
