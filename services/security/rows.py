"""Rows as the types of ports.py, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy.engine import RowMapping

from services.security.ports import Credentials, KeyRow, RefreshToken, Session, State, User


def user_of(row: RowMapping) -> User:
    """Return the user of a row."""
    return User(
        id=row["id"],
        name=row["name"],
        display_name=row["display_name"],
        roles=tuple(row["roles"]),
        accounts=tuple(row["accounts"]),
        state=State(row["state"]),
        must_change_password=row["must_change_password"],
        totp_enabled=row["totp_enabled"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        password_changed_at=row["password_changed_at"],
    )


def user_values(user: User) -> dict[str, Any]:
    """Return the columns of a user."""
    return {
        **asdict(user),
        "roles": list(user.roles),
        "accounts": list(user.accounts),
        "state": user.state.value,
    }


def credentials_of(row: RowMapping) -> Credentials:
    """Return the credentials of a row."""
    return Credentials(
        user_id=row["user_id"],
        password_hash=row["password_hash"],
        totp_secret=row["totp_secret"],
        totp_last_step=row["totp_last_step"],
        recovery_hashes=tuple(row["recovery_hashes"]),
        failures=row["failures"],
        last_failure_at=row["last_failure_at"],
        locked_until=row["locked_until"],
    )


def credentials_values(credentials: Credentials) -> dict[str, Any]:
    """Return the columns of credentials."""
    return {**asdict(credentials), "recovery_hashes": list(credentials.recovery_hashes)}


def session_of(row: RowMapping) -> Session:
    """Return the session of a row."""
    return Session(**row)


def refresh_token_of(row: RowMapping) -> RefreshToken:
    """Return the refresh token of a row."""
    return RefreshToken(**row)


def key_of(row: RowMapping) -> KeyRow:
    """Return the key of a row of both key tables."""
    return KeyRow(
        kid=row["kid"],
        private=row["private_key"],
        public=row["public_key"],
        created_at=row["created_at"],
        retired_at=row["retired_at"],
        not_after=row["not_after"],
    )
