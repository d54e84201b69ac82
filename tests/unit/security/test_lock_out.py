"""Failures that lock a user out, and the time at which a refusal is answered."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from services.security.lock_out import after_failure, after_success, answer_after_s, is_locked
from services.security.ports import Credentials

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
QUARTER = dt.timedelta(minutes=15)


def fail(credentials: Credentials, now: dt.datetime) -> Credentials:
    return after_failure(credentials, now, 5, QUARTER)


def test_the_fifth_failure_locks_for_a_quarter_of_an_hour() -> None:
    credentials = Credentials(UUID(int=1), "hash")
    for _ in range(4):
        credentials = fail(credentials, NOON)
        assert not is_locked(credentials, NOON)
    credentials = fail(credentials, NOON)
    assert is_locked(credentials, NOON)
    assert is_locked(credentials, NOON + QUARTER - dt.timedelta(microseconds=1))
    assert not is_locked(credentials, NOON + QUARTER)


def test_failures_far_apart_do_not_count_together() -> None:
    credentials, now = Credentials(UUID(int=1), "hash"), NOON
    for _ in range(20):
        credentials = fail(credentials, now)
        now += QUARTER
    assert credentials.failures == 1
    assert not is_locked(credentials, now)


def test_after_a_lock_out_the_count_begins_anew() -> None:
    credentials = Credentials(UUID(int=1), "hash")
    for _ in range(5):
        credentials = fail(credentials, NOON)
    later = NOON + QUARTER
    for _ in range(4):
        credentials = fail(credentials, later)
        assert not is_locked(credentials, later)
    assert is_locked(fail(credentials, later), later)


def test_a_login_forgets_the_failures() -> None:
    credentials = fail(fail(Credentials(UUID(int=1), "hash"), NOON), NOON)
    assert after_success(credentials) == Credentials(UUID(int=1), "hash")


def test_refusals_come_later_and_later_up_to_a_limit() -> None:
    got = [answer_after_s(n, 0.25, 4.0) for n in (0, 1, 2, 3, 4, 5, 6, 1000)]
    assert got == [0.25, 0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
