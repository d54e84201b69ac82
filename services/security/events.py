"""What the audit log and people are told; no password, code or token is ever among it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.contracts.messages import AuditEvent, Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import Clock
from services.security.ports import Caller, Session, User

SYSTEM: Final = "service:security"
NOBODY: Final = "unknown"
"""Who tried a name that we do not know; the name itself may be a password typed too early."""
NOWHERE: Final = Caller("", "")
NONE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Events:
    """Makes messages."""

    clock: Clock

    def proof(
        self, user: User | None, what: str, outcome: str, caller: Caller, reason: str = ""
    ) -> AuditEvent:
        """Somebody proved who they are (`done`), or did not."""
        return self._event(
            "login" if what == "log in" else "proof",
            what,
            _name(user),
            outcome,
            _name(user),
            caller,
            {"reason": reason} if reason else NONE,
        )

    def locked_out(
        self, user: User, until: dt.datetime, caller: Caller
    ) -> tuple[AuditEvent, Notification]:
        """A user is locked out after too many failures."""
        details = {"until": until.isoformat()}
        return (
            self._event("lock_out", "lock out", _name(user), "done", SYSTEM, caller, details),
            Notification(
                level=Level.WARNING,
                title=f"{user.name} is locked out",
                message=(
                    f"Too many failed logins as {user.name}, the last from {caller.ip}; "
                    f"nobody gets in as {user.name} before {until:%H:%M:%S} UTC."
                ),
                fingerprint=f"security:lock-out:{user.name}",
                ts=self.clock.now(),
                context={"user": user.name, "ip": caller.ip},
            ),
        )

    def reused(
        self, user: User, session: Session, caller: Caller
    ) -> tuple[AuditEvent, Notification]:
        """A refresh token came a second time: its session has been ended."""
        details = {"session": str(session.id)}
        return (
            self._event("reuse", "refresh", _name(user), "refused", _name(user), caller, details),
            Notification(
                level=Level.CRITICAL,
                title=f"A session of {user.name} was used twice",
                message=(
                    f"A refresh token of {user.name} that had been used came again, from "
                    f"{caller.ip}: somebody may have copied it. The session is ended."
                ),
                fingerprint=f"security:reuse:{session.id}",
                ts=self.clock.now(),
                context={"user": user.name, "session": str(session.id), "ip": caller.ip},
            ),
        )

    def ended(
        self, actor: str, user: User, sessions: Sequence[Session], reason: str, caller: Caller
    ) -> AuditEvent:
        """Sessions of a user were ended."""
        details = {"sessions": " ".join(str(each.id) for each in sessions), "reason": reason}
        return self._event("logout", "end sessions", _name(user), "done", actor, caller, details)

    def user_changed(
        self,
        actor: str,
        user: User,
        action: str,
        caller: Caller,
        details: Mapping[str, str] = NONE,
    ) -> AuditEvent:
        """A user was created, changed or removed. The id tells two of one name apart."""
        known = {"id": str(user.id), **details}
        return self._event("user", action, _name(user), "done", actor, caller, known)

    def signing_key(self, actor: str, kid: str, old: str) -> AuditEvent:
        """Tokens are signed with another key."""
        resource, details = f"signing:{kid}", {"from": old}
        return self._event("signing", "rotate", resource, "done", actor, NOWHERE, details)

    def _event(
        self,
        kind: str,
        action: str,
        resource: str,
        outcome: str,
        actor: str,
        caller: Caller,
        details: Mapping[str, str],
    ) -> AuditEvent:
        where = {"ip": caller.ip, "user_agent": caller.user_agent}
        return AuditEvent(
            event_type=f"security.{kind}",
            actor=actor,
            action=action,
            resource=resource,
            outcome=outcome,
            ts=self.clock.now(),
            details={**{name: text for name, text in where.items() if text}, **details},
        )


def _name(user: User | None) -> str:
    return NOBODY if user is None else f"user:{user.name}"
