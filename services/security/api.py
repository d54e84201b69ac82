"""Routes of logins and of what belongs to oneself: `/api/v1/auth`."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.runtime.app import json_response
from libs.common.runtime.auth.principal import Kind, principal
from libs.common.runtime.openapi import answers, page_of
from libs.common.runtime.permissions import PUBLIC, requires
from services.security import families, handlers, own
from services.security.bodies import (
    LoginBody,
    PasswordBody,
    RefreshBody,
    StepUpBody,
    session_view,
    user_view,
)
from services.security.cookies import clear_cookies, set_cookies, token_in
from services.security.first import FirstStart
from services.security.handlers import Desk
from services.security.ports import Caller
from services.security.sessions import Grant
from services.security.shapes import (
    AccessShape,
    EndedShape,
    GrantShape,
    JwksShape,
    MeShape,
    SessionShape,
    SigningKeyShape,
    SteppedUpShape,
)

ANYBODY: Final = requires(PUBLIC)
SELF: Final = requires("auth:self")
USER_AGENT_CHARS: Final = 200
KEYS_MAX_AGE_S: Final = 60


class SessionsQuery(BaseModel):
    """How many sessions to list."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=500)] = 100


def router(desk: Desk, first: FirstStart) -> APIRouter:
    """Return the routes under `/api/v1/auth`."""
    routes = APIRouter(prefix="/api/v1/auth", tags=["auth"])

    @routes.post("/login", dependencies=[ANYBODY], responses=answers(GrantShape, 401, 429, 503))
    async def login(request: Request, wish: LoginBody) -> Response:
        """Log in: an access token for 15 minutes and a refresh token, or a cookie, for its
        successor. 401 `factor-required` asks for a one-time or recovery code."""
        grant = await handlers.login(
            desk, wish.name.lower(), secret(wish.password), wish.code, caller_of(request)
        )
        return granted(desk, grant, by_cookie=wish.cookie)

    @routes.post("/refresh", dependencies=[ANYBODY], responses=answers(GrantShape, 401, 403, 503))
    async def refresh(request: Request, wish: RefreshBody | None = None) -> Response:
        """Exchange a refresh token, which is good once, for the next pair."""
        by_cookie = wish is None
        token = token_in(request) if wish is None else wish.refresh_token
        grant = await desk.sessions.refresh(token, caller_of(request))
        return granted(desk, grant, by_cookie=by_cookie)

    @routes.get("/jwks", dependencies=[ANYBODY], responses=answers(JwksShape, 503))
    async def jwks() -> Response:
        """The public keys of access tokens (RFC 7517, RFC 8037)."""
        keys = await desk.store.verification_keys(desk.prover.clock.now())
        answer = json_response({"keys": [_jwk(kid, public) for kid, public in keys]})
        answer.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE_S}"
        return answer

    @routes.get("/me", dependencies=[SELF], responses=answers(MeShape))
    async def me(request: Request) -> Response:
        """Who the caller is, and what they may do."""
        who = principal(request)
        shown: dict[str, Any] = {
            "kind": who.kind.value,
            "name": who.name,
            "roles": who.roles,
            "permissions": sorted(who.permissions),
            "accounts": sorted(who.accounts),
            "session_id": who.session_id,
            "expires_at": who.expires_at,
            "stepped_up_at": who.stepped_up_at,
            "user": None,
        }
        if who.kind is not Kind.SERVICE:
            shown["user"] = user_view(await desk.store.user(UUID(who.subject)))
        return private(shown)

    @routes.post(
        "/logout", status_code=204, dependencies=[SELF], responses=answers(None, 404, status=204)
    )
    async def logout(request: Request) -> Response:
        """End this session: its tokens are void in every service at once."""
        await handlers.logout(desk, principal(request), caller_of(request))
        return _gone()

    @routes.post("/logout-everywhere", dependencies=[SELF], responses=answers(EndedShape, 404))
    async def logout_everywhere(request: Request) -> Response:
        """End all sessions of the caller."""
        ended = await handlers.logout_everywhere(desk, principal(request), caller_of(request))
        answer = private({"ended": ended})
        clear_cookies(answer)
        return answer

    @routes.post("/step-up", dependencies=[SELF], responses=answers(SteppedUpShape, 404))
    async def step_up(request: Request, wish: StepUpBody) -> Response:
        """Prove again who one is; the token that is given opens what is dangerous for a while."""
        token, session = await handlers.step_up(
            desk, principal(request), secret(wish.password), wish.code, caller_of(request)
        )
        return private({**_access(desk, token), "stepped_up_at": session.stepped_up_at})

    @routes.post("/password", dependencies=[SELF], responses=answers(AccessShape, 404))
    async def password(request: Request, wish: PasswordBody) -> Response:
        """Change the own password. All other sessions end; this one's new access token is given."""
        token = await own.change_password(
            desk,
            first,
            principal(request),
            secret(wish.current_password),
            secret(wish.new_password),
            caller_of(request),
        )
        return private(_access(desk, token))

    @routes.get("/sessions", dependencies=[SELF], responses=answers(page_of(SessionShape)))
    async def sessions(request: Request, query: Annotated[SessionsQuery, Query()]) -> Response:
        """The caller's sessions, newest first."""
        who = principal(request)
        found = await handlers.sessions_of(desk, handlers.user_of(who), query.limit)
        current = None if who.session_id is None else UUID(who.session_id)
        return private({"items": [session_view(each, current) for each in found], "next": None})

    @routes.delete(
        "/sessions/{session_id}",
        status_code=204,
        dependencies=[SELF],
        responses=answers(None, status=204),
    )
    async def end_session(request: Request, session_id: UUID) -> Response:
        """End one of the caller's sessions."""
        who = principal(request)
        await handlers.end_session(
            desk, who, handlers.user_of(who), session_id, "ended by its user", caller_of(request)
        )
        return Response(status_code=204)

    @routes.post(
        "/signing-keys/rotate",
        dependencies=[requires("signing:rotate", step_up=True)],
        responses=answers(SigningKeyShape),
    )
    async def rotate(request: Request) -> Response:
        """Make a new signing key. Nobody is logged out: tokens of the old one stay good until they
        expire."""
        keyring = desk.sessions.keyring
        key = await keyring.rotate(principal(request).actor)
        return private({"kid": key.kid, "signs_from": key.created_at + keyring.publish})

    return routes


def caller_of(request: Request) -> Caller:
    """Return where a request came from."""
    agent = request.headers.get("user-agent", "")[:USER_AGENT_CHARS]
    shown = "".join(each if each.isprintable() else "\ufffd" for each in agent)
    return Caller(request.client.host if request.client else "", shown)


def secret(value: Any) -> Any:
    """Return what a secret field holds, None for None."""
    return None if value is None else value.get_secret_value()


def private(value: Any, *, status: int = 200) -> Response:
    """Return an answer that no cache may keep."""
    answer = json_response(value, status=status)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def granted(desk: Desk, grant: Grant, *, by_cookie: bool) -> Response:
    """Return the tokens of a session; the refresh token in the body or as a cookie, never both."""
    shown = {**_access(desk, grant.access_token), "user": user_view(grant.user)}
    shown["session_id"] = grant.session.id
    shown["refresh_expires_at"] = grant.refresh_until
    if not by_cookie:
        return private({**shown, "refresh_token": grant.refresh_token})
    answer = private({**shown, "csrf_token": families.csrf_of(grant.refresh_token)})
    set_cookies(answer, grant, desk.prover.clock.now())
    return answer


def _access(desk: Desk, token: str) -> dict[str, Any]:
    seconds = desk.prover.settings.access_token_s
    return {"access_token": token, "token_type": "Bearer", "expires_in": seconds}


def _gone() -> Response:
    answer = Response(status_code=204)
    clear_cookies(answer)
    return answer


def _jwk(kid: str, public: bytes) -> dict[str, str]:
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode("ascii")
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x}
