"""Routes of stored secrets and of the rotation of keys: `/api/v1/secrets`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import Field, SecretStr

from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.security import secret_handlers
from services.security.api import caller_of, private
from services.security.bodies import Body
from services.security.key_shapes import BatchShape, SecretShape
from services.security.secret_handlers import COLUMNS, SecretDesk

WRITE: Final = requires("secrets:write", step_up=True)
Name = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class SecretBody(Body):
    """A value to be kept."""

    value: Annotated[SecretStr, Field(min_length=1, max_length=8192)]


class RotationBody(Body):
    """Which rows of which column; `after` is the `next` of the batch before."""

    column: Annotated[str, Field(min_length=1, max_length=128)]
    after: Annotated[str, Field(max_length=256, pattern=r"^[^\x00]*$")] = ""
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


def router(desk: SecretDesk) -> APIRouter:
    """Return the routes under `/api/v1/secrets`; no answer holds a secret."""
    routes = APIRouter(prefix="/api/v1/secrets", tags=["secrets"])

    @routes.get(
        "",
        dependencies=[requires("secrets:write")],
        responses=answers(page_of(SecretShape, columns=list[str])),
    )
    async def listed() -> Response:
        """The names of what is stored, and the columns that are encrypted."""
        items = [asdict(secret) for secret in await secret_handlers.listed(desk)]
        return private({"items": items, "next": None, "columns": list(COLUMNS)})

    @routes.put(
        "/{name}", status_code=204, dependencies=[WRITE], responses=answers(None, status=204)
    )
    async def put(request: Request, name: Name, wish: SecretBody) -> Response:
        """Keep a secret, encrypted, for the services that look for it."""
        value = wish.value.get_secret_value()
        await secret_handlers.put(desk, principal(request), name, value, caller_of(request))
        return Response(status_code=204)

    @routes.delete(
        "/{name}", status_code=204, dependencies=[WRITE], responses=answers(None, status=204)
    )
    async def remove(request: Request, name: Name) -> Response:
        """Forget a secret."""
        await secret_handlers.remove(desk, principal(request), name, caller_of(request))
        return Response(status_code=204)

    @routes.post("/rotation", dependencies=[WRITE], responses=answers(BatchShape))
    async def rotate(request: Request, wish: RotationBody) -> Response:
        """Encrypt a batch of rows with the first key."""
        who, caller = principal(request), caller_of(request)
        done = await secret_handlers.rotate(desk, who, wish.column, wish.after, wish.limit, caller)
        return private(asdict(done))

    return routes
