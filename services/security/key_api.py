"""Routes of API keys: `/api/v1/keys`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.security import key_handlers
from services.security.api import caller_of, private
from services.security.key_bodies import KeyBody, KeysQuery, key_view
from services.security.key_handlers import KeyDesk, KeyWish
from services.security.key_shapes import KeyShape, NewKeyShape

SELF: Final = requires("keys:self")
KeyId = Annotated[str, Path(pattern=r"^[a-z2-7]{16}$")]


def router(desk: KeyDesk) -> APIRouter:
    """Return the routes under `/api/v1/keys`."""
    routes = APIRouter(prefix="/api/v1/keys", tags=["keys"])

    @routes.post(
        "",
        status_code=201,
        dependencies=[requires("keys:self", step_up=True)],
        responses=answers(NewKeyShape, 404, 409, status=201),
    )
    async def create(request: Request, wish: KeyBody) -> Response:
        """Make a key; the answer's `key` is shown this once and kept nowhere."""
        asked = KeyWish(
            name=wish.name,
            permissions=wish.permissions,
            accounts=wish.accounts,
            networks=wish.networks,
            expires_at=wish.expires_at,
            rate_per_minute=wish.rate_per_minute,
            may_step_up=wish.may_step_up,
            user_id=wish.user_id,
        )
        who, caller = principal(request), caller_of(request)
        key, made = await key_handlers.create(desk, who, asked, caller)
        answer = private({**key_view(key), "key": made.text}, status=201)
        answer.headers["Location"] = f"/api/v1/keys/{key.id}"
        return answer

    @routes.get("", dependencies=[SELF], responses=answers(page_of(KeyShape)))
    async def listed(request: Request, query: Annotated[KeysQuery, Query()]) -> Response:
        """The caller's keys; those of a user, or everybody's, for an administrator."""
        found = await key_handlers.listed(
            desk,
            principal(request),
            query.user_id,
            query.after,
            query.limit + 1,
            everybody=query.everybody,
        )
        shown = found[: query.limit]
        following = shown[-1].id if len(found) > query.limit else None
        return private({"items": [key_view(key) for key in shown], "next": following})

    @routes.get("/{key_id}", dependencies=[SELF], responses=answers(KeyShape))
    async def show(request: Request, key_id: KeyId) -> Response:
        """One key, and when it was used last."""
        return private(key_view(await key_handlers.show(desk, principal(request), key_id)))

    @routes.delete("/{key_id}", dependencies=[SELF], responses=answers(KeyShape))
    async def revoke(request: Request, key_id: KeyId) -> Response:
        """Admit a key no more; it is void in every service at once."""
        who, caller = principal(request), caller_of(request)
        return private(key_view(await key_handlers.revoke(desk, who, key_id, caller)))

    return routes
