"""What administrators do with users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from libs.common.kernel.errors import ConflictError, NotFoundError
from libs.common.runtime.auth.principal import Principal
from services.security.handlers import Desk
from services.security.own import without_codes
from services.security.policy import check_password, fresh_password
from services.security.ports import Caller, Credentials, Person, State, User, Work

ADMIN: Final = "admin"
LOCK: Final = "administrators"


@dataclass(frozen=True, slots=True)
class NewUser:
    """Somebody to be let in; without a password a random one is made."""

    name: str
    display_name: str
    roles: tuple[str, ...]
    accounts: tuple[str, ...]
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different of a user; None stays."""

    display_name: str | None = None
    roles: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    state: State | None = None


async def create(
    desk: Desk, who: Principal, wish: NewUser, caller: Caller
) -> tuple[User, str | None]:
    """Add a user, who must change the password at the first login; return the user and the
    password that was made, if one was.

    Raises InvalidInputError, ConflictError.
    """
    password = wish.password or fresh_password()
    check_password(password, wish.name, desk.prover.settings.password_length_min)
    now = desk.prover.clock.now()
    user = User(
        id=desk.sessions.ids.new(),
        name=wish.name,
        display_name=wish.display_name,
        roles=wish.roles,
        accounts=wish.accounts,
        state=State.ACTIVE,
        must_change_password=True,
        totp_enabled=False,
        created_at=now,
        updated_at=now,
        password_changed_at=now,
    )
    person = Person(user, Credentials(user.id, await desk.prover.passwords.hash(password)))
    details = {"roles": " ".join(user.roles), "accounts": " ".join(user.accounts)}
    async with desk.store.work() as work:
        await work.add_person(person)
        await work.tell(desk.prover.events.user_changed(who.actor, user, "create", caller, details))
    return user, None if wish.password else password


async def change(desk: Desk, who: Principal, user_id: UUID, wish: Change, caller: Caller) -> User:
    """Change a user. Tokens made so far lose effect at once: the next refresh gives new rights;
    who is disabled is out. Raises NotFoundError, ConflictError for the last administrator.
    """
    async with desk.store.work() as work:
        await work.lock(LOCK)
        person = await _person(work, user_id)
        old = person.user
        new = _changed(old, wish)
        if new == old:
            return old
        if _rules(old) and not _rules(new) and await work.administrators() == [user_id]:
            raise ConflictError("this is the last active administrator")
        new = replace(new, updated_at=desk.prover.clock.now())
        await work.save_user(new)
        details = _differences(old, new)
        await work.tell(desk.prover.events.user_changed(who.actor, new, "change", caller, details))
        await _let_rights_take_effect(desk, work, who, old, new, caller)
    return new


async def remove(desk: Desk, who: Principal, user_id: UUID, caller: Caller) -> None:
    """Remove a user for good: nothing that speaks for them is admitted from now on, and what we
    kept of them is deleted. The record of what they did stays as it is, under their login name.

    Raises NotFoundError, ConflictError for the last administrator.
    """
    async with desk.store.work() as work:
        await work.lock(LOCK)
        user = (await _person(work, user_id)).user
        if _rules(user) and await work.administrators() == [user_id]:
            raise ConflictError("this is the last active administrator")
        live = await work.live_sessions(user_id, desk.prover.clock.now())
        await desk.sessions.end(work, who.actor, user, live, "user removed", caller)
        await desk.sessions.void_user(work, user_id)
        await work.remove_person(user_id)
        await _told(desk, work, who, user, "remove", caller)
    await desk.prover.limits.forget(user.name)


def _changed(old: User, wish: Change) -> User:
    return replace(
        old,
        display_name=old.display_name if wish.display_name is None else wish.display_name,
        roles=old.roles if wish.roles is None else wish.roles,
        accounts=old.accounts if wish.accounts is None else wish.accounts,
        state=old.state if wish.state is None else wish.state,
    )


async def _let_rights_take_effect(
    desk: Desk, work: Work, who: Principal, old: User, new: User, caller: Caller
) -> None:
    live = await work.live_sessions(new.id, desk.prover.clock.now())
    if new.state is State.DISABLED:
        await desk.sessions.end(work, who.actor, new, live, "user disabled", caller)
        await desk.sessions.void_user(work, new.id)
    elif (old.roles, old.accounts) != (new.roles, new.accounts):
        for session in live:
            await desk.sessions.void(work, session)
        # Also heard where nobody is logged in: the user's API keys shrink with the user.
        await desk.sessions.void_user(work, new.id)


async def reset_password(desk: Desk, who: Principal, user_id: UUID, caller: Caller) -> str:
    """Give a user a random password, to be changed at the next login, and end their sessions;
    return the password, which is shown this once. Raises NotFoundError."""
    password = fresh_password()
    hashed = await desk.prover.passwords.hash(password)
    now = desk.prover.clock.now()
    async with desk.store.work() as work:
        person = await _person(work, user_id)
        user = replace(
            person.user, must_change_password=True, password_changed_at=now, updated_at=now
        )
        await work.save_user(user)
        await work.save_credentials(replace(_unlocked(person.credentials), password_hash=hashed))
        await _told(desk, work, who, user, "reset the password", caller)
        live = await work.live_sessions(user_id, now)
        await desk.sessions.end(work, who.actor, user, live, "password reset", caller)
    return password


async def unlock(desk: Desk, who: Principal, user_id: UUID, caller: Caller) -> User:
    """End a lock-out. Raises NotFoundError."""
    async with desk.store.work() as work:
        person = await _person(work, user_id)
        await work.save_credentials(_unlocked(person.credentials))
        await _told(desk, work, who, person.user, "unlock", caller)
    await desk.prover.limits.forget(person.user.name)
    return person.user


async def reset_codes(desk: Desk, who: Principal, user_id: UUID, caller: Caller) -> User:
    """Turn off the one-time codes of a user who has lost them. Raises NotFoundError."""
    async with desk.store.work() as work:
        person = await _person(work, user_id)
        await without_codes(desk, work, person)
        await _told(desk, work, who, person.user, "turn off one-time codes", caller)
    return await desk.store.user(user_id)


async def _told(
    desk: Desk, work: Work, who: Principal, user: User, action: str, caller: Caller
) -> None:
    await work.tell(desk.prover.events.user_changed(who.actor, user, action, caller))


async def _person(work: Work, user_id: UUID) -> Person:
    person = await work.person(user_id)
    if person is None:
        raise NotFoundError(f"there is no user {user_id}")
    return person


def _unlocked(credentials: Credentials) -> Credentials:
    return replace(credentials, failures=0, last_failure_at=None, locked_until=None)


def _rules(user: User) -> bool:
    return user.state is State.ACTIVE and ADMIN in user.roles


def _differences(old: User, new: User) -> Mapping[str, str]:
    parts = {
        "display_name": (old.display_name, new.display_name),
        "roles": (" ".join(old.roles), " ".join(new.roles)),
        "accounts": (" ".join(old.accounts), " ".join(new.accounts)),
        "state": (old.state.value, new.state.value),
    }
    return {name: f"{was} -> {now}" for name, (was, now) in parts.items() if was != now}
