"""What users change of their own: the password, one-time codes, recovery codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from libs.common.kernel.errors import ConflictError, InvalidInputError
from libs.common.runtime.auth.errors import unauthenticated
from libs.common.runtime.auth.principal import Principal
from libs.common.runtime.secrets import TOTP_SECRET
from services.security import recovery, totp
from services.security.first import FirstStart
from services.security.handlers import Desk, person_of, session_of
from services.security.policy import check_password
from services.security.ports import Caller, Credentials, Person, User, Work

CHANGE_PASSWORD: Final = "change the password"
ENROL: Final = "set up one-time codes"
CONFIRM: Final = "turn on one-time codes"
DISABLE: Final = "turn off one-time codes"
RECOVERY: Final = "renew the recovery codes"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A secret of one-time codes that waits to be confirmed."""

    secret: str
    uri: str


async def change_password(
    desk: Desk, first: FirstStart, who: Principal, current: str, new: str, caller: Caller
) -> str:
    """Change the caller's password and end their other sessions; return a new access token.

    Raises AccessError, InvalidInputError for a new one that is not good enough.
    """
    person = await person_of(desk, who)
    check_password(new, person.user.name, desk.prover.settings.password_length_min)
    if new == current:
        raise InvalidInputError("new_password: is the present one")
    attempt = await desk.prover.look(person.user.name, current, caller)
    new_hash = await desk.prover.passwords.hash(new) if attempt.right else ""
    token = ""
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, CHANGE_PASSWORD, None, with_code=False)
        if settled.person is not None:
            user = await _replace_password(desk, work, settled.person, new_hash)
            token = await _only_this_session(desk, work, who, user, caller)
    await desk.prover.conclude(attempt, settled, CHANGE_PASSWORD)
    first.forget(person.user.name)
    return token


async def _replace_password(desk: Desk, work: Work, person: Person, new_hash: str) -> User:
    now = desk.prover.clock.now()
    await work.save_credentials(replace(person.credentials, password_hash=new_hash))
    user = replace(person.user, must_change_password=False, password_changed_at=now, updated_at=now)
    await work.save_user(user)
    return user


async def _only_this_session(
    desk: Desk, work: Work, who: Principal, user: User, caller: Caller
) -> str:
    """End the other sessions; return a token for this one, with the rights that it has now."""
    now = desk.prover.clock.now()
    live = await work.live_sessions(user.id, now)
    others = [session for session in live if session.id != session_of(who)]
    await desk.sessions.end(work, who.actor, user, others, "password changed", caller)
    mine = [session for session in live if session.id == session_of(who)]
    if not mine:
        raise unauthenticated("session-over", "The session is over; log in again.")
    this = replace(mine[0], stepped_up_at=now)
    await work.save_session(this)
    return desk.sessions.keyring.access_token(user, this)


async def enrol(desk: Desk, who: Principal, password: str, caller: Caller) -> Enrolment:
    """Return a new secret for one-time codes; it counts once `confirm` has seen a code of it.

    Raises AccessError, ConflictError if one-time codes are on already.
    """
    person = await person_of(desk, who)
    _check_off(person.user)
    attempt = await desk.prover.look(person.user.name, password, caller)
    secret = totp.fresh_secret()
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, ENROL, None)
        if settled.person is not None:
            _check_off(settled.person.user)
            encrypted = desk.prover.box.encrypt(
                secret.encode(), TOTP_SECRET.purpose(person.user.id)
            )
            credentials = settled.person.credentials
            await work.save_credentials(
                replace(credentials, totp_secret=encrypted, totp_last_step=None)
            )
    await desk.prover.conclude(attempt, settled, ENROL)
    return _enrolment(desk, person.user, secret)


async def pending(desk: Desk, who: Principal) -> Enrolment:
    """Return the secret that waits to be confirmed. Raises ConflictError if none does."""
    person = await person_of(desk, who)
    _check_off(person.user)
    secret = desk.prover.secret_of(person.user.id, person.credentials)
    if secret is None:
        raise ConflictError("no one-time codes wait to be confirmed; set them up first")
    return _enrolment(desk, person.user, secret)


async def confirm(desk: Desk, who: Principal, code: str, caller: Caller) -> tuple[str, ...]:
    """Turn on one-time codes; return the recovery codes, which are shown this once.

    Raises AccessError for a wrong code, ConflictError without an enrolment.
    """
    waiting = await pending(desk, who)
    person = await person_of(desk, who)
    codes = recovery.fresh_codes()
    step = totp.accepted_step(waiting.secret, code, desk.prover.clock.now(), None)
    begun = await desk.prover.without_password(person, caller)
    attempt = replace(begun, right=step is not None)
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, CONFIRM, None, with_code=False)
        if settled.person is not None:
            if settled.person.credentials.totp_secret != person.credentials.totp_secret:
                raise ConflictError("the one-time codes were set up anew meanwhile")
            await _turn_on(desk, work, settled.person, codes, step)
    await desk.prover.conclude(attempt, settled, CONFIRM)
    return codes


async def _turn_on(
    desk: Desk, work: Work, person: Person, codes: tuple[str, ...], step: int | None
) -> None:
    await work.save_credentials(
        replace(
            person.credentials,
            totp_last_step=step,
            recovery_hashes=tuple(map(recovery.hash_of, codes)),
        )
    )
    now = desk.prover.clock.now()
    await work.save_user(replace(person.user, totp_enabled=True, updated_at=now))


async def disable(desk: Desk, who: Principal, password: str, code: str, caller: Caller) -> None:
    """Turn off one-time codes. Raises AccessError, ConflictError if they are off."""
    person = await person_of(desk, who)
    _check_on(person.user)
    attempt = await desk.prover.look(person.user.name, password, caller)
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, DISABLE, code)
        if settled.person is not None:
            await without_codes(desk, work, settled.person)
    await desk.prover.conclude(attempt, settled, DISABLE)


async def without_codes(desk: Desk, work: Work, person: Person) -> None:
    """Save a person without one-time and recovery codes."""
    bare: Credentials = replace(
        person.credentials, totp_secret=None, totp_last_step=None, recovery_hashes=()
    )
    await work.save_credentials(bare)
    now = desk.prover.clock.now()
    await work.save_user(replace(person.user, totp_enabled=False, updated_at=now))


async def renew_recovery(
    desk: Desk, who: Principal, password: str, code: str, caller: Caller
) -> tuple[str, ...]:
    """Return new recovery codes; the old ones are void. Raises AccessError, ConflictError."""
    person = await person_of(desk, who)
    _check_on(person.user)
    codes = recovery.fresh_codes()
    attempt = await desk.prover.look(person.user.name, password, caller)
    async with desk.store.work() as work:
        settled = await desk.prover.settle(work, attempt, RECOVERY, code)
        if settled.person is not None:
            hashes = tuple(map(recovery.hash_of, codes))
            await work.save_credentials(replace(settled.person.credentials, recovery_hashes=hashes))
    await desk.prover.conclude(attempt, settled, RECOVERY)
    return codes


def _enrolment(desk: Desk, user: User, secret: str) -> Enrolment:
    issuer = desk.prover.settings.totp_issuer
    return Enrolment(secret, totp.enrolment_uri(secret, user.name, issuer))


def _check_on(user: User) -> None:
    if not user.totp_enabled:
        raise ConflictError("one-time codes are off")


def _check_off(user: User) -> None:
    if user.totp_enabled:
        raise ConflictError("one-time codes are on already; turn them off first")
