"""What a service's OpenAPI says of its answers: their schemas, and every problem they may be.

Routes answer with bytes that msgspec has written, so their schemas come from msgspec too: of the
very type that is encoded, or of a TypedDict that names the fields. None of it costs a request
anything: a schema is made when somebody asks for `/openapi.json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypedDict

import msgspec
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from sqlalchemy import Table

from libs.common.kernel.errors import InvalidInputError
from libs.common.runtime.methods import FixedPaths, on_method
from libs.common.runtime.permissions import PUBLIC, permission_of, routes_of
from libs.common.runtime.problems import MEDIA_TYPE

JSON: Final = "application/json"
Schema = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

_NOT_TOLD: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
"""Our own figures tell of requests; asking whether somebody listens costs each of them."""
_ANY_REQUEST: Final = (400, 413, 422)
_OF_PERMISSION: Final = (401, 403, 429, 503)
_PROBLEM: Final[Schema] = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "correlation_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "correlation_id": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True)
class Security:
    """The ways to prove who calls: schemes by name, and which of them together are enough."""

    schemes: Mapping[str, Schema]
    enough: tuple[tuple[str, ...], ...]


OURS: Final = Security(
    {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    },
    (("token",), ("api_key",)),
)


def schema_of(kind: Any) -> Schema:
    """Return the JSON schema of what msgspec writes for `kind`; a schema is returned as it is."""
    return kind if isinstance(kind, dict) else msgspec.json.schema(kind)


def answers(
    kind: Any,
    *problems: int,
    status: int = 200,
    media: Mapping[str, Schema] | None = None,
) -> Responses:
    """Return a route's `responses`: `kind` with `status`, and the `problems` of its own.

    `kind` None is an answer without a body. What any route may answer is added by `ServiceApp`:
    400, 413, 422; 401, 403, 429, 503 where a permission is needed; 404 with a parameter in the
    path; 415 with a body. `media` adds other forms of the answer.
    """
    content: dict[str, Any] = {} if kind is None else {JSON: {"schema": schema_of(kind)}}
    for name, schema in (media or {}).items():
        content[name] = {"schema": schema}
    good = {"description": HTTPStatus(status).phrase, **({"content": content} if content else {})}
    return {status: good, **{number: _problem(number) for number in problems}}


def body_of(kind: Any) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads its JSON body by itself."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema_of(kind)}}}}


class Ready(TypedDict):
    """Whether a service can work, and what keeps it from that."""

    status: Literal["ready", "not ready"]
    service: str
    reasons: dict[str, str]


def page_of(kind: Any, **more: Any) -> Schema:
    """Return the schema of a list's page: `items` of `kind`, the cursor `next`, and `more`."""
    return {
        "type": "object",
        "required": ["items", "next", *more],
        "properties": {
            "items": {"type": "array", "items": schema_of(kind)},
            "next": {"type": ["string", "integer", "null"]},
            **{name: schema_of(one) for name, one in more.items()},
        },
        "additionalProperties": False,
    }


READINESS: Final = {**answers(Ready), **answers(Ready, status=503)}


def row_of(table: Table, **more: Any) -> Schema:
    """Return the schema of a row of `table` as msgspec writes it, with `more` fields."""
    fields = {column.name: _column(column) for column in table.columns}
    fields.update({name: schema_of(kind) for name, kind in more.items()})
    return {
        "type": "object",
        "required": list(fields),
        "properties": fields,
        "additionalProperties": False,
    }


def _column(column: Any) -> Schema:
    kind = column.type.python_type
    if kind in (dict, object):
        return {}  # JSON of any shape
    schema = schema_of(list[Any] if kind is list else kind)
    return {"anyOf": [schema, {"type": "null"}]} if column.nullable else schema


class ServiceApp(FastAPI):
    """A FastAPI whose OpenAPI tells of every answer, also those that no handler gives, and that
    names every method of a path where one is not allowed."""

    def __init__(self, *, security: Security = OURS, **options: Any) -> None:
        super().__init__(telemetry=_NOT_TOLD, **options)
        self._security = security
        self.add_middleware(FixedPaths, owner=self)
        self.add_exception_handler(405, on_method)

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once. Raises InvalidInputError for two schemas of one
        name."""
        if not self.openapi_schema:
            made = super().openapi()
            _complete(made, routes_of(self), self._security)
            self.openapi_schema = made
        return self.openapi_schema


def _complete(made: dict[str, Any], routes: Iterable[APIRoute], security: Security) -> None:
    """Add to the description what FastAPI does not know."""
    components = made.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for route in routes:
        permission = permission_of(route)
        for method in route.methods or ():
            operation = made["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete_operation(operation, permission, security)
    made["paths"] = _hoisted(made["paths"], schemas)
    schemas["Problem"] = _PROBLEM
    components["securitySchemes"] = dict(security.schemes)


def _complete_operation(
    operation: dict[str, Any], permission: str | None, security: Security
) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    possible = list(_ANY_REQUEST)
    if permission != PUBLIC:
        possible += _OF_PERMISSION
        operation["security"] = [{name: [] for name in names} for names in security.enough]
        operation["x-permission"] = permission
    if any(one["in"] == "path" for one in operation.get("parameters", ())):
        possible.append(404)
    if "requestBody" in operation:
        possible.append(415)
    for number in possible:
        responses.setdefault(str(number), _problem(number))


def _problem(number: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(number).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _hoisted(node: Any, schemas: dict[str, Any]) -> Any:
    """Return `node` with the `$defs` of its schemas moved into `schemas`."""
    if isinstance(node, list):
        return [_hoisted(one, schemas) for one in node]
    if not isinstance(node, dict):
        return node
    for name, inner in node.get("$defs", {}).items():
        schema = _hoisted(inner, schemas)
        if _meaning(schemas.setdefault(name, schema)) != _meaning(schema):
            raise InvalidInputError(f"OpenAPI: two schemas are called {name}")
    changed = {name: _hoisted(inner, schemas) for name, inner in node.items() if name != "$defs"}
    reference = changed.get("$ref")
    if isinstance(reference, str):
        changed["$ref"] = reference.replace("#/$defs/", "#/components/schemas/")
    return changed


def _meaning(schema: Schema) -> Any:
    """Return what a schema says; pydantic and msgspec write the same enum differently."""
    return sorted(schema["enum"]) if "enum" in schema else schema
