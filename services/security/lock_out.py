"""When failures lock a user out, and how late a refusal is answered."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from services.security.ports import Credentials


def is_locked(credentials: Credentials, now: dt.datetime) -> bool:
    """Tell whether nobody gets in as this user at `now`."""
    return credentials.locked_until is not None and now < credentials.locked_until


def after_failure(
    credentials: Credentials, now: dt.datetime, failures_max: int, lock_out: dt.timedelta
) -> Credentials:
    """Return what is kept after one more failure.

    Failures count together while each follows the one before within `lock_out`; the
    `failures_max`-th locks the user out for `lock_out` and the count begins anew.
    """
    last = credentials.last_failure_at
    counted = credentials.failures if last is not None and now - last < lock_out else 0
    failures = counted + 1
    if failures < failures_max:
        return replace(credentials, failures=failures, last_failure_at=now)
    return replace(credentials, failures=0, last_failure_at=now, locked_until=now + lock_out)


def after_success(credentials: Credentials) -> Credentials:
    """Return what is kept after a login."""
    return replace(credentials, failures=0, last_failure_at=None, locked_until=None)


def answer_after_s(failures: int, first_s: float, most_s: float) -> float:
    """Return how long after its beginning the n-th refusal in a row is answered.

    0.25 s first: 0.25, 0.5, 1, 2, 4, 4, …
    """
    return min(first_s * 2.0 ** min(max(0, failures - 1), 30), max(first_s, most_s))
