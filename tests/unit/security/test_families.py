"""Refresh tokens: what each presentation means, and that a successor can be given again."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from uuid import UUID

import pytest

from services.security import families
from services.security.families import Turn
from services.security.ports import RefreshToken, Session

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
GRACE = dt.timedelta(seconds=10)
HOUR = dt.timedelta(hours=1)
ID = UUID(int=1)
SESSION = Session(ID, ID, NOW - HOUR, NOW - HOUR, NOW + HOUR)
TOKEN = RefreshToken(b"", ID, NOW - HOUR, NOW + HOUR)


def used(seconds: float) -> RefreshToken:
    return replace(TOKEN, used_at=NOW - dt.timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("token", "session", "successor_used", "turn"),
    [
        (TOKEN, SESSION, False, Turn.NEXT),
        (replace(TOKEN, expires_at=NOW), SESSION, False, Turn.OVER),
        (TOKEN, replace(SESSION, expires_at=NOW), False, Turn.OVER),
        (TOKEN, replace(SESSION, revoked_at=NOW - HOUR), False, Turn.OVER),
        (used(10), SESSION, False, Turn.AGAIN),
        (used(10.001), SESSION, False, Turn.REUSED),
        (used(1), SESSION, True, Turn.REUSED),
        # A family that has ended cannot be ended again: no second alarm.
        (used(900), replace(SESSION, revoked_at=NOW - HOUR), True, Turn.OVER),
    ],
)
def test_what_a_token_is_worth(
    token: RefreshToken, session: Session, successor_used: bool, turn: Turn
) -> None:
    got = families.judge(token, session, successor_used=successor_used, now=NOW, grace=GRACE)
    assert got is turn


def test_a_successor_is_always_the_same_and_needs_the_key() -> None:
    first = families.first_token()
    assert families.successor(first, b"key") == families.successor(first, b"key")
    assert families.successor(first, b"key") != families.successor(first, b"other")
    chain = [first]
    for _ in range(50):
        chain.append(families.successor(chain[-1], b"key"))
    assert len(set(chain)) == 51
    assert {len(token) for token in chain} == {len(first)}
    assert len({families.hash_of(token) for token in chain}) == 51


def test_the_csrf_token_belongs_to_one_cookie() -> None:
    one, two = families.first_token(), families.first_token()
    assert families.csrf_fits(one, families.csrf_of(one))
    assert not families.csrf_fits(one, families.csrf_of(two))
    assert not families.csrf_fits(one, "")
    assert not families.csrf_fits(one, "ü")
