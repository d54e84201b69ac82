"""Errors as `application/problem+json` (RFC 9457); nothing internal reaches a client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from libs.common.kernel.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TradewindError,
    UnavailableError,
)
from libs.common.runtime.auth.errors import AccessError
from libs.common.runtime.logging import correlation_id_var, get_logger

_log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
DETAIL_CHARS_MAX = 1000


def problem(
    status: int,
    detail: str,
    *,
    code: str | None = None,
    instance: str = "",
    errors: Sequence[Mapping[str, str]] | None = None,
    extra: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that tells what went wrong.

    `code` becomes the problem's type (`urn:tradewind:problem:<code>`), `errors` lists the fields
    of a validation failure.
    """
    title = HTTPStatus(status).phrase
    if len(detail) > DETAIL_CHARS_MAX:
        detail = detail[:DETAIL_CHARS_MAX] + "…"
    body: dict[str, Any] = {
        "type": f"urn:tradewind:problem:{code}" if code else "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "correlation_id": str(correlation_id_var.get() or ""),
    }
    if code:
        body["code"] = code
    if errors:
        body["errors"] = list(errors)
    body.update(extra or {})
    return Response(
        orjson.dumps(body, default=str),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


_STATUS: tuple[tuple[type[TradewindError], int, str], ...] = (
    (InvalidInputError, 422, "invalid-input"),
    (NotFoundError, 404, "not-found"),
    (ConflictError, 409, "conflict"),
    (UnavailableError, 503, "unavailable"),
)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    given = request.headers.get("content-type", "none")
    if any(item["loc"] == ("body",) for item in error.errors()) and "json" not in given.lower():
        detail = f"The body must be application/json; Content-Type was {given}."
        return problem(415, detail, code="not-json", instance=request.url.path)
    errors = [
        {
            "field": ".".join(str(part) for part in item["loc"]),
            "message": str(item["msg"]).removeprefix("Value error, "),
        }
        for item in error.errors()
    ]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in errors[:5])
    return problem(422, detail, code="invalid-input", instance=request.url.path, errors=errors)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(
        error.status_code, str(error.detail), instance=request.url.path, headers=error.headers
    )


async def _on_access(request: Request, error: Exception) -> Response:
    assert isinstance(error, AccessError)
    return problem(
        error.status,
        str(error),
        code=error.code,
        instance=request.url.path,
        headers=error.headers,
    )


async def _on_ours(request: Request, error: Exception) -> Response:
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                _log.warning("request_unavailable", path=request.url.path, error=str(error))
            return problem(status, str(error), code=code, instance=request.url.path)
    return internal_problem(request.url.path, error)


def internal_problem(path: str, error: Exception) -> Response:
    """Log a bug and return the answer that tells nothing of it."""
    _log.error("request_failed", path=path, exc_info=error)
    return problem(
        500,
        "The service failed; the log has the details under this correlation id.",
        code="internal",
        instance=path,
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(AccessError, _on_access)
    app.add_exception_handler(TradewindError, _on_ours)
