"""People of a test: rows of `users`, principals, and their headers."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field

import psycopg

from libs.common.runtime.auth.principal import Kind, Principal
from libs.common.runtime.auth.roles import ALL_ACCOUNTS, permissions_of
from tests.support.tokens import headers_for


@dataclass(frozen=True)
class Person:
    """Somebody with a login."""

    name: str
    roles: tuple[str, ...]
    accounts: tuple[str, ...] = (ALL_ACCOUNTS,)
    id: uuid.UUID = field(default_factory=uuid.uuid4)

    def headers(self, *, stepped_up: bool = False) -> dict[str, str]:
        """Return the headers of a request in a session of its own."""
        return headers_for(
            *self.roles,
            accounts=self.accounts,
            name=self.name,
            user_id=self.id,
            stepped_up=stepped_up,
        )

    def principal(self, now: dt.datetime, *, stepped_up: bool = False) -> Principal:
        """Return the person as a handler sees it, in a session of its own."""
        return Principal(
            kind=Kind.USER,
            subject=str(self.id),
            name=self.name,
            roles=self.roles,
            permissions=permissions_of(self.roles),
            accounts=frozenset(self.accounts),
            issued_at=now,
            expires_at=now + dt.timedelta(minutes=15),
            session_id=str(uuid.uuid4()),
            stepped_up_at=now if stepped_up else None,
        )


def enroll(database_url: str, *people: Person, state: str = "active") -> None:
    """Put people into the table of users."""
    with psycopg.connect(database_url) as connection:
        for person in people:
            connection.execute(
                "INSERT INTO users (id, name, display_name, roles, accounts, state, created_at,"
                " updated_at, password_changed_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, now(), now(), now())",
                (person.id, person.name, person.name, list(person.roles),
                 list(person.accounts), state),
            )  # fmt: skip
