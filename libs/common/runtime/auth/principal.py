"""Who makes a request."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.requests import HTTPConnection

from libs.common.runtime.auth.roles import ALL_ACCOUNTS


class Kind(StrEnum):
    """How a caller proves who they are."""

    USER = "user"
    SERVICE = "service"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose proof has been checked.

    `subject` is the user's id (of a key: its owner's) or `service:<name>`; `name` is what people
    and the audit log call it. Times are aware, UTC.
    """

    kind: Kind
    subject: str
    name: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    accounts: frozenset[str]
    issued_at: dt.datetime
    expires_at: dt.datetime
    session_id: str | None = None
    key_id: str | None = None
    stepped_up_at: dt.datetime | None = None
    may_step_up: bool = field(default=False)

    @property
    def actor(self) -> str:
        """Return the name for records: `user:ada`, `key:k7f3 of ada`, `service:operator`."""
        if self.kind is Kind.KEY:
            return f"key:{self.key_id} of {self.name}"
        return f"{self.kind.value}:{self.name}"

    def may(self, permission: str) -> bool:
        """Tell whether the caller has `permission`."""
        return permission in self.permissions

    def sees(self, account_id: str) -> bool:
        """Tell whether the caller is admitted to an account."""
        return ALL_ACCOUNTS in self.accounts or account_id in self.accounts

    def is_stepped_up(self, now: dt.datetime, within: dt.timedelta) -> bool:
        """Tell whether the caller has proven itself again lately, or need not."""
        if self.may_step_up:
            return True
        return self.stepped_up_at is not None and now - self.stepped_up_at <= within

    @property
    def revocable_as(self) -> tuple[str, ...]:
        """Return the subjects under which a revocation hits this caller."""
        if self.kind is Kind.SERVICE:
            return ()
        subjects = [f"user:{self.subject}"]
        if self.session_id is not None:
            subjects.append(f"session:{self.session_id}")
        if self.key_id is not None:
            subjects.append(f"key:{self.key_id}")
        return tuple(subjects)


SCOPE_KEY = "tradewind.principal"


def principal(request: HTTPConnection) -> Principal:
    """Return who makes `request`. Raises LookupError on a public route, which has nobody."""
    found = principal_in(request.scope)
    if found is None:
        raise LookupError(f"{request.url.path} is public: nobody has been identified")
    return found


def principal_in(scope: Any) -> Principal | None:
    """Return the caller of an ASGI scope, None if it has not been identified."""
    found: Principal | None = scope.get(SCOPE_KEY)
    return found
