"""Sessions: begun by a login, carried on by refresh tokens, ended in many ways."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.auth.errors import unauthenticated
from libs.common.runtime.auth.tokens import SKEW
from services.security import families
from services.security.events import Events
from services.security.families import Turn
from services.security.keyring import Keyring
from services.security.metrics import REFRESHES
from services.security.ports import Caller, RefreshToken, Session, State, Store, User, Work
from services.security.settings import SecuritySettings

for _turn in Turn:
    REFRESHES.labels(_turn.value)


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody who is in is given."""

    user: User
    session: Session
    access_token: str
    access_token_s: int
    refresh_token: str
    refresh_until: dt.datetime


@dataclass(frozen=True)
class Sessions:
    """Begins, carries on and ends sessions."""

    store: Store
    keyring: Keyring
    clock: Clock
    ids: IdSource
    events: Events
    settings: SecuritySettings

    async def begin(self, work: Work, user: User, caller: Caller) -> Grant:
        """Begin a session; of too many the oldest ends. Whoever logs in has just proven who they
        are, so it begins stepped up."""
        now = self.clock.now()
        live = await work.live_sessions(user.id, now)
        surplus = live[: max(0, len(live) - self.settings.sessions_per_user_max + 1)]
        await self.end(work, f"user:{user.name}", user, surplus, "too many sessions", caller)
        session = Session(
            id=self.ids.new(),
            user_id=user.id,
            created_at=now,
            last_used_at=now,
            expires_at=now + dt.timedelta(seconds=self.settings.session_s_max),
            ip=caller.ip,
            user_agent=caller.user_agent,
            stepped_up_at=now,
        )
        await work.add_session(session)
        return await self._granted(work, user, session, families.first_token())

    async def refresh(self, token: str, caller: Caller) -> Grant:
        """Use a refresh token. One that was used before ends its session: somebody has copied it.

        Raises AccessError.
        """
        async with self.store.work() as work:
            turn, grant = await self._turn(work, token, caller)
        REFRESHES.labels(turn.value).inc()
        if grant is None:
            raise unauthenticated("session-over", "The session is over; log in again.")
        return grant

    async def _turn(self, work: Work, token: str, caller: Caller) -> tuple[Turn, Grant | None]:
        used = families.hash_of(token)
        family = await work.refresh_token(used)
        seen = None if family is None else await work.session(family.session_id)
        person = None if seen is None else await work.person(seen.user_id)
        # Again, now that nobody else can change it.
        kept = await work.refresh_token(used)
        session = None if kept is None else await work.session(kept.session_id)
        if person is None or kept is None or session is None:
            return Turn.OVER, None
        user, now = person.user, self.clock.now()
        following = await self._following(work, token)
        turn = families.judge(
            kept,
            session,
            successor_used=following is None or following[1].used_at is not None,
            now=now,
            grace=dt.timedelta(seconds=self.settings.refresh_grace_s),
        )
        if turn is Turn.REUSED:
            await self.end(work, "service:security", user, [session], "token reused", caller)
            for message in self.events.reused(user, session, caller):
                await work.tell(message)
            return turn, None
        if turn is Turn.OVER or user.state is not State.ACTIVE:
            return Turn.OVER, None
        if turn is Turn.AGAIN and following is not None:
            text, row = following
            return turn, self._grant(user, session, text, row.expires_at)
        session = replace(session, last_used_at=now)
        await work.save_session(session)
        await work.use_refresh_token(used, now)
        text = families.successor(token, self.keyring.family_keys()[0])
        return turn, await self._granted(work, user, session, text)

    async def end(
        self,
        work: Work,
        actor: str,
        user: User,
        ended: Sequence[Session],
        reason: str,
        caller: Caller,
    ) -> None:
        """End sessions: their refresh tokens are void here, their access tokens everywhere."""
        if not ended:
            return
        now = self.clock.now()
        for session in ended:
            await work.save_session(replace(session, revoked_at=now, revoked_reason=reason))
            await self.void(work, session)
        await work.tell(self.events.ended(actor, user, ended, reason, caller))

    async def void(self, work: Work, session: Session) -> None:
        """Let no service admit the session's access tokens made so far; those that a refresh
        gives from now on are good."""
        now = self.clock.now()
        await work.revoke(f"session:{session.id}", now, now + self._access + SKEW)

    async def void_user(self, work: Work, user_id: UUID) -> None:
        """Let no service admit anything that speaks for the user, made so far."""
        now = self.clock.now()
        await work.revoke(f"user:{user_id}", now, now + self._access + SKEW)

    @property
    def _access(self) -> dt.timedelta:
        return dt.timedelta(seconds=self.settings.access_token_s)

    async def _following(self, work: Work, token: str) -> tuple[str, RefreshToken] | None:
        """Return the successor that was given for `token`, whichever key it was made with."""
        for key in self.keyring.family_keys():
            text = families.successor(token, key)
            row = await work.refresh_token(families.hash_of(text))
            if row is not None:
                return text, row
        return None

    async def _granted(self, work: Work, user: User, session: Session, token: str) -> Grant:
        now = self.clock.now()
        unused = now + dt.timedelta(seconds=self.settings.refresh_token_s)
        until = min(unused, session.expires_at)
        await work.add_refresh_token(
            RefreshToken(families.hash_of(token), session.id, issued_at=now, expires_at=until)
        )
        return self._grant(user, session, token, until)

    def _grant(self, user: User, session: Session, token: str, until: dt.datetime) -> Grant:
        access = self.keyring.access_token(user, session)
        return Grant(user, session, access, self.settings.access_token_s, token, until)
