"""Refresh tokens: each is used once, and what a token that comes again means.

A token's successor is computed from it with a key of ours, so the answer to a refresh that got
lost on its way can be given again, to the byte, without keeping a token. See the decision page on
refresh families.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import secrets
from enum import Enum
from typing import Final

from services.security.ports import RefreshToken, Session

BYTES: Final = 32
PREFIX: Final = "twr_"


class Turn(Enum):
    """What a refresh token is worth."""

    NEXT = "next"
    """Its successor is due."""
    AGAIN = "again"
    """It was used a moment ago and its successor was not: the answer may have been lost."""
    REUSED = "reused"
    """It was used before: two hold the same family."""
    OVER = "over"
    """It, or its session, has expired or was ended."""


def judge(
    token: RefreshToken,
    session: Session,
    *,
    successor_used: bool,
    now: dt.datetime,
    grace: dt.timedelta,
) -> Turn:
    """Return what `token` is worth at `now`."""
    if session.revoked_at is not None or now >= session.expires_at:
        return Turn.OVER
    if token.used_at is not None:
        lost = not successor_used and now - token.used_at <= grace
        return Turn.AGAIN if lost else Turn.REUSED
    return Turn.OVER if now >= token.expires_at else Turn.NEXT


def first_token() -> str:
    """Return the first token of a family: 256 random bits."""
    return _written(secrets.token_bytes(BYTES))


def successor(token: str, key: bytes) -> str:
    """Return the token that follows `token`."""
    return _written(_mac(key, token))


def hash_of(token: str) -> bytes:
    """Return the SHA-256 by which a token is known."""
    return hashlib.sha256(token.encode()).digest()


def csrf_of(token: str) -> str:
    """Return what a page must send beside the cookie that holds `token`.

    Only who can read what we answered knows it; the cookie itself no script can read.
    """
    return _text(_mac(token.encode(), "csrf"))


def csrf_fits(token: str, given: str) -> bool:
    """Tell whether `given` belongs to the cookie `token`."""
    return hmac.compare_digest(csrf_of(token).encode(), given.encode())


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _written(data: bytes) -> str:
    return f"{PREFIX}{_text(data)}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
