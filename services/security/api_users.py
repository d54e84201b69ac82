"""Routes for administrators: `/api/v1/users`."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from libs.common.runtime.auth.principal import principal
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import requires
from services.security import handlers, people
from services.security.api import SessionsQuery, caller_of, private, secret
from services.security.bodies import (
    ChangeBody,
    UserBody,
    UsersQuery,
    session_view,
    state_of,
    unique,
    user_view,
)
from services.security.handlers import Desk
from services.security.people import Change, NewUser
from services.security.shapes import (
    EndedShape,
    NewUserShape,
    PasswordShape,
    SessionShape,
    UserDetailShape,
    UserShape,
)

READ: Final = requires("users:read")
WRITE: Final = requires("users:write", step_up=True)


def router(desk: Desk) -> APIRouter:
    """Return the routes under `/api/v1/users`; those with fixed names come first."""
    routes = APIRouter(prefix="/api/v1/users", tags=["users"])

    @routes.post(
        "", status_code=201, dependencies=[WRITE], responses=answers(NewUserShape, 409, status=201)
    )
    async def create(request: Request, wish: UserBody) -> Response:
        """Add a user, who must change the password at the first login."""
        new = NewUser(
            wish.name,
            wish.display_name or wish.name,
            unique(wish.roles, "roles"),
            unique(wish.accounts, "accounts"),
            secret(wish.password),
        )
        user, password = await people.create(desk, principal(request), new, caller_of(request))
        answer = private({**user_view(user), "password": password}, status=201)
        answer.headers["Location"] = f"/api/v1/users/{user.id}"
        return answer

    @routes.get("", dependencies=[READ], responses=answers(page_of(UserShape)))
    async def listed(query: Annotated[UsersQuery, Query()]) -> Response:
        """Users by name."""
        found = await desk.store.users(query.after, query.limit + 1)
        shown = found[: query.limit]
        following = shown[-1].name if len(found) > query.limit else None
        return private({"items": [user_view(user) for user in shown], "next": following})

    @routes.get("/sessions", dependencies=[READ], responses=answers(page_of(SessionShape)))
    async def all_sessions(query: Annotated[SessionsQuery, Query()]) -> Response:
        """The newest sessions of everybody."""
        found = await handlers.sessions_of(desk, None, query.limit)
        return private({"items": [session_view(each, None) for each in found], "next": None})

    @routes.get("/{user_id}", dependencies=[READ], responses=answers(UserDetailShape))
    async def show(user_id: UUID) -> Response:
        """One user, and until when they are locked out."""
        user = await desk.store.user(user_id)
        credentials = await desk.store.credentials(user_id)
        return private({**user_view(user), "locked_until": credentials.locked_until})

    @routes.patch("/{user_id}", dependencies=[WRITE], responses=answers(UserShape, 409))
    async def change(request: Request, user_id: UUID, wish: ChangeBody) -> Response:
        """Change name, roles, accounts or state; in effect at once, in every service."""
        new = Change(
            wish.display_name,
            None if wish.roles is None else unique(wish.roles, "roles"),
            None if wish.accounts is None else unique(wish.accounts, "accounts"),
            state_of(wish.state),
        )
        who, caller = principal(request), caller_of(request)
        return private(user_view(await people.change(desk, who, user_id, new, caller)))

    @routes.delete(
        "/{user_id}",
        status_code=204,
        dependencies=[WRITE],
        responses=answers(None, 409, status=204),
    )
    async def remove(request: Request, user_id: UUID) -> Response:
        """Remove a user for good, with sessions, codes and API keys. 409 for the last active
        administrator."""
        await people.remove(desk, principal(request), user_id, caller_of(request))
        return Response(status_code=204)

    @routes.post("/{user_id}/password", dependencies=[WRITE], responses=answers(PasswordShape))
    async def reset_password(request: Request, user_id: UUID) -> Response:
        """Give a random password, shown this once; all sessions of the user end."""
        who, caller = principal(request), caller_of(request)
        return private({"password": await people.reset_password(desk, who, user_id, caller)})

    @routes.post("/{user_id}/unlock", dependencies=[WRITE], responses=answers(UserShape))
    async def unlock(request: Request, user_id: UUID) -> Response:
        """End a lock-out."""
        who, caller = principal(request), caller_of(request)
        return private(user_view(await people.unlock(desk, who, user_id, caller)))

    @routes.delete("/{user_id}/totp", dependencies=[WRITE], responses=answers(UserShape))
    async def reset_codes(request: Request, user_id: UUID) -> Response:
        """Turn off the one-time codes of a user who has lost them."""
        who, caller = principal(request), caller_of(request)
        return private(user_view(await people.reset_codes(desk, who, user_id, caller)))

    @routes.get(
        "/{user_id}/sessions", dependencies=[READ], responses=answers(page_of(SessionShape))
    )
    async def sessions(user_id: UUID, query: Annotated[SessionsQuery, Query()]) -> Response:
        """A user's sessions, newest first."""
        await desk.store.user(user_id)
        found = await handlers.sessions_of(desk, user_id, query.limit)
        return private({"items": [session_view(each, None) for each in found], "next": None})

    @routes.delete("/{user_id}/sessions", dependencies=[WRITE], responses=answers(EndedShape))
    async def end_sessions(request: Request, user_id: UUID) -> Response:
        """End all sessions of a user."""
        who, caller = principal(request), caller_of(request)
        ended = await handlers.end_sessions(desk, who, user_id, "ended by an administrator", caller)
        return private({"ended": ended})

    @routes.delete(
        "/{user_id}/sessions/{session_id}",
        status_code=204,
        dependencies=[WRITE],
        responses=answers(None, status=204),
    )
    async def end_session(request: Request, user_id: UUID, session_id: UUID) -> Response:
        """End one session of a user."""
        who, caller = principal(request), caller_of(request)
        await handlers.end_session(
            desk, who, user_id, session_id, "ended by an administrator", caller
        )
        return Response(status_code=204)

    return routes
