"""Refresh tokens as cookies, and the proof that a page of ours sends them (double submit)."""

from __future__ import annotations

import datetime as dt
from typing import Final

from fastapi import Request, Response

from libs.common.runtime.auth.errors import denied, unauthenticated
from services.security import families
from services.security.sessions import Grant

REFRESH: Final = "__Secure-tradewind_refresh"
CSRF: Final = "__Secure-tradewind_csrf"
HEADER: Final = "X-CSRF-Token"
PATH: Final = "/api/v1/auth"


def set_cookies(response: Response, grant: Grant, now: dt.datetime) -> None:
    """Give the refresh token as a cookie for the authentication routes alone, and beside it what
    a page must send with it, which it can read."""
    seconds = max(0, int((grant.refresh_until - now).total_seconds()))
    for name, value, path, hidden in (
        (REFRESH, grant.refresh_token, PATH, True),
        (CSRF, families.csrf_of(grant.refresh_token), "/", False),
    ):
        response.set_cookie(
            name, value, max_age=seconds, path=path, secure=True, httponly=hidden, samesite="strict"
        )


def clear_cookies(response: Response) -> None:
    """Take both cookies back."""
    for name, path, hidden in ((REFRESH, PATH, True), (CSRF, "/", False)):
        response.delete_cookie(name, path=path, secure=True, httponly=hidden, samesite="strict")


def token_in(request: Request) -> str:
    """Return the refresh token of the cookie. Raises AccessError without one, or if the request
    does not carry what only a page of ours can know."""
    token = request.cookies.get(REFRESH)
    if not token:
        raise unauthenticated("no-token", "There is neither a refresh_token nor a session cookie.")
    if not families.csrf_fits(token, request.headers.get(HEADER, "")):
        raise denied("csrf", f"The header {HEADER} is missing or belongs to another session.")
    return token
