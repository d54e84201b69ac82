"""Parameters that a route does not know are refused: a mistyped filter must not widen a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi.dependencies.models import Dependant
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from libs.common.kernel.errors import InvalidInputError


def check_query(request: HTTPConnection) -> None:
    """Raise InvalidInputError naming the query parameters that the route does not declare."""
    declared = dict(_declared(request.scope["route"].dependant))
    if any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in declared.values()):
        return  # a model takes all of them, and checks them
    unknown = sorted(set(request.query_params) - set(declared))
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise InvalidInputError(f"query: unknown {', '.join(unknown)}; known here: {known}")


def _declared(dependant: Dependant) -> Iterator[tuple[str, Any]]:
    """Yield name and type of each query parameter of a route."""
    for field in dependant.query_params:
        yield field.alias, field.field_info.annotation
    for inner in dependant.dependencies:
        yield from _declared(inner)
