"""Coming in, staying in, going out: one function a request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from libs.common.kernel.clock import NS_PER_SECOND
from libs.common.kernel.errors import NotFoundError
from libs.common.runtime.auth.errors import AccessError, denied, unauthenticated
from libs.common.runtime.auth.principal import Kind, Principal
from services.security.metrics import LOGIN_DURATION, LOGINS
from services.security.ports import Caller, Person, Session, Store
from services.security.proof import LOGIN, Attempt, Prover, Verdict
from services.security.sessions import Grant, Sessions

NAME: Final = "security"
STEP_UP: Final = "step up"
for _verdict in Verdict:
    LOGINS.labels(_verdict.value)


@dataclass(frozen=True)
class Desk:
    """What the handlers work with."""

    store: Store
    prover: Prover
    sessions: Sessions


async def login(desk: Desk, name: str, password: str, code: str | None, caller: Caller) -> Grant:
    """Return a new session's tokens. Raises AccessError, UnavailableError."""
    attempt = await desk.prover.look(name, password, caller)
    grant = None
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, LOGIN, code)
        if settled.verdict is Verdict.GOOD and settled.person is not None:
            grant = await desk.sessions.begin(work, settled.person.user, caller)
    LOGINS.labels(settled.verdict.value).inc()
    await desk.prover.conclude(attempt, settled, LOGIN)
    assert grant is not None
    past_ns = desk.prover.clock.monotonic_ns() - attempt.started_ns
    LOGIN_DURATION.observe(past_ns / NS_PER_SECOND)
    return grant


async def logout(desk: Desk, who: Principal, caller: Caller) -> None:
    """End the session that the request is made in. Raises AccessError, NotFoundError."""
    await end_session(desk, who, user_of(who), session_of(who), "logged out", caller)


async def logout_everywhere(desk: Desk, who: Principal, caller: Caller) -> int:
    """End all sessions of the caller; return how many. Raises AccessError."""
    return await end_sessions(desk, who, user_of(who), "logged out everywhere", caller)


async def end_session(
    desk: Desk, who: Principal, user_id: UUID, session_id: UUID, reason: str, caller: Caller
) -> None:
    """End one session of a user. Raises NotFoundError."""
    async with desk.store.work() as work:
        person = await work.person(user_id)
        session = await work.session(session_id)
        if person is None or session is None or session.user_id != user_id:
            raise NotFoundError(f"there is no session {session_id}")
        if session.revoked_at is None:
            await desk.sessions.end(work, who.actor, person.user, [session], reason, caller)


async def end_sessions(
    desk: Desk, who: Principal, user_id: UUID, reason: str, caller: Caller
) -> int:
    """End all sessions of a user; return how many. Raises NotFoundError."""
    async with desk.store.work() as work:
        person = await work.person(user_id)
        if person is None:
            raise NotFoundError(f"there is no user {user_id}")
        live = await work.live_sessions(user_id, desk.prover.clock.now())
        await desk.sessions.end(work, who.actor, person.user, live, reason, caller)
    return len(live)


async def step_up(
    desk: Desk, who: Principal, password: str | None, code: str | None, caller: Caller
) -> tuple[str, Session]:
    """Return an access token that says that the caller has proven again who they are.

    A user of one-time codes gives one (or a recovery code), others the password. Raises
    AccessError.
    """
    person = await person_of(desk, who)
    attempt = await _proof_of(desk, person, password, code, caller)
    session = None
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, STEP_UP, code)
        if settled.verdict is Verdict.GOOD:
            session = await work.session(session_of(who))
        if session is not None:
            session = replace(session, stepped_up_at=desk.prover.clock.now())
            await work.save_session(session)
    proven = await desk.prover.conclude(attempt, settled, STEP_UP)
    if session is None or session.revoked_at is not None:
        raise unauthenticated("session-over", "The session is over; log in again.")
    return desk.sessions.keyring.access_token(proven.user, session), session


async def _proof_of(
    desk: Desk, person: Person, password: str | None, code: str | None, caller: Caller
) -> Attempt:
    if person.user.totp_enabled:
        if code is None:
            raise denied("factor-required", "A one-time or recovery code is needed.")
        return await desk.prover.without_password(person, caller)
    if password is None:
        raise denied("password-required", "The password is needed.")
    return await desk.prover.look(person.user.name, password, caller)


async def person_of(desk: Desk, who: Principal) -> Person:
    """Return the user who makes a request. Raises AccessError for a service or key."""
    user = await desk.store.user(user_of(who))
    return Person(user, await desk.store.credentials(user.id))


async def sessions_of(desk: Desk, user_id: UUID | None, limit: int) -> list[Session]:
    """Return live sessions, newest first."""
    return list(await desk.store.sessions(user_id, desk.prover.clock.now(), limit))


def user_of(who: Principal) -> UUID:
    """Return the id of the user who makes a request. Raises AccessError for a service or key."""
    if who.kind is not Kind.USER:
        raise only_users()
    return UUID(who.subject)


def session_of(who: Principal) -> UUID:
    """Return the session that a request is made in. Raises AccessError if in none."""
    if who.kind is not Kind.USER or who.session_id is None:
        raise only_users()
    return UUID(who.session_id)


def only_users() -> AccessError:
    """Return the refusal of a service or key where only somebody logged in makes sense."""
    return denied("users-only", "Only a user who has logged in can do this.")
