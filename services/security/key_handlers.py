"""API keys: made, shown, revoked. A key never allows more than its owner may."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import AuditEvent, KeyUse
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ConflictError, InvalidInputError, NotFoundError
from libs.common.runtime.auth.clients import networks_of, parsed_address
from libs.common.runtime.auth.errors import AccessError, denied
from libs.common.runtime.auth.key_text import NewKey, new_api_key
from libs.common.runtime.auth.keys import common_accounts
from libs.common.runtime.auth.principal import Kind, Principal
from libs.common.runtime.auth.roles import permissions_of
from services.security.key_ports import Key, KeyStore
from services.security.ports import Caller, State, User
from services.security.settings import SecuritySettings

ANY: Final = "keys:write"
"""The permission to deal with other people's keys."""
HEARD_WITHIN: Final = dt.timedelta(hours=1)
"""A revocation is kept so long; the key itself stays revoked."""


@dataclass(frozen=True, slots=True)
class KeyWish:
    """A key to be made, for the caller or for `user_id`; no accounts are all of its owner."""

    name: str
    permissions: tuple[str, ...]
    accounts: tuple[str, ...]
    networks: tuple[str, ...]
    expires_at: dt.datetime
    rate_per_minute: int | None = None
    may_step_up: bool = False
    user_id: UUID | None = None


@dataclass(frozen=True)
class KeyDesk:
    """What the handlers work with."""

    store: KeyStore
    clock: Clock
    settings: SecuritySettings


async def create(
    desk: KeyDesk, who: Principal, wish: KeyWish, caller: Caller
) -> tuple[Key, NewKey]:
    """Return a new key and its text, which is shown this once.

    Raises AccessError, InvalidInputError, NotFoundError, ConflictError.
    """
    owner_id = _owner_id(who, wish.user_id)
    now = desk.clock.now()
    _check_times(desk, wish, now)
    networks = tuple(map(str, networks_of(wish.networks, "networks")))
    made = new_api_key()
    async with desk.store.work() as work:
        person = await work.person(owner_id)
        if person is None:
            raise NotFoundError(f"there is no user {owner_id}")
        owner = person.user
        accounts = _checked_rights(owner, wish)
        if await work.live_keys(owner.id, now) >= desk.settings.keys_per_user_max:
            raise ConflictError(f"{owner.name} has {desk.settings.keys_per_user_max} keys already")
        key = Key(
            id=made.id,
            user_id=owner.id,
            user=owner.name,
            name=wish.name,
            permissions=wish.permissions,
            accounts=accounts,
            networks=networks,
            rate_per_minute=wish.rate_per_minute or desk.settings.key_rate_per_minute,
            may_step_up=wish.may_step_up,
            created_at=now,
            expires_at=wish.expires_at,
        )
        await work.add(key, made.hash)
        details = {
            "permissions": " ".join(key.permissions),
            "accounts": " ".join(key.accounts),
            "networks": " ".join(key.networks),
            "expires_at": key.expires_at.isoformat(),
            "may_step_up": str(key.may_step_up).lower(),
        }
        await work.tell(_event(who, key, "create key", caller, now, details))
    return key, made


async def revoke(desk: KeyDesk, who: Principal, key_id: str, caller: Caller) -> Key:
    """Admit a key no more; return it. Raises NotFoundError."""
    now = desk.clock.now()
    async with desk.store.work() as work:
        key = _visible(who, await work.key(key_id), key_id)
        if key.revoked_at is None:
            await work.revoke(key_id, now, now + HEARD_WITHIN)
            await work.tell(_event(who, key, "revoke key", caller, now, {}))
    return await show(desk, who, key_id)


async def show(desk: KeyDesk, who: Principal, key_id: str) -> Key:
    """Return a key. Raises NotFoundError, also for one that is not the caller's to see."""
    return _visible(who, await desk.store.key(key_id), key_id)


async def listed(
    desk: KeyDesk, who: Principal, user_id: UUID | None, after: str, limit: int, *, everybody: bool
) -> list[Key]:
    """Return keys by id: the caller's, those of a user, or everybody's. Raises AccessError."""
    if everybody and user_id is None:
        _check_any(who)
        return list(await desk.store.keys(None, after, limit))
    return list(await desk.store.keys(_owner_id(who, user_id), after, limit))


async def note_use(desk: KeyDesk, message: Envelope[KeyUse]) -> None:
    """Keep when and from where a key was used."""
    use = message.payload
    address = parsed_address(use.ip)
    await desk.store.used(use.key_id, use.ts, "" if address is None else str(address))


def _owner_id(who: Principal, user_id: UUID | None) -> UUID:
    if who.kind is Kind.KEY:
        raise denied("users-only", "An API key cannot deal with API keys.")
    if who.kind is Kind.USER and user_id in (None, UUID(who.subject)):
        return UUID(who.subject)
    _check_any(who)
    if user_id is None:
        raise InvalidInputError("user_id: name whose key it is to be; a service has none")
    return user_id


def _check_any(who: Principal) -> None:
    if not who.may(ANY) or who.kind is Kind.KEY:
        raise _lacks(who)


def _lacks(who: Principal) -> AccessError:
    return denied("permission-denied", f"{who.name} lacks the permission {ANY}.")


def _check_times(desk: KeyDesk, wish: KeyWish, now: dt.datetime) -> None:
    most = dt.timedelta(days=desk.settings.key_days_max)
    if not now < wish.expires_at <= now + most:
        raise InvalidInputError(
            f"expires_at: must be in the future, at most {desk.settings.key_days_max} days from now"
        )
    if (wish.rate_per_minute or 1) > desk.settings.key_rate_per_minute_max:
        raise InvalidInputError(f"rate_per_minute: at most {desk.settings.key_rate_per_minute_max}")


def _checked_rights(owner: User, wish: KeyWish) -> tuple[str, ...]:
    """Return the key's accounts. Raises InvalidInputError for more than its owner has."""
    if owner.state is not State.ACTIVE or owner.must_change_password:
        raise ConflictError(f"{owner.name} is disabled or must change the password first")
    missing = sorted(set(wish.permissions) - permissions_of(owner.roles))
    if missing:
        raise InvalidInputError(f"permissions: {owner.name} lacks {', '.join(missing)}")
    accounts = wish.accounts or owner.accounts
    allowed = common_accounts(frozenset(accounts), frozenset(owner.accounts))
    foreign = sorted(set(accounts) - allowed)
    if foreign:
        raise InvalidInputError(f"accounts: {owner.name} is not admitted to {', '.join(foreign)}")
    return accounts


def _visible(who: Principal, key: Key | None, key_id: str) -> Key:
    mine = key is not None and who.kind is Kind.USER and str(key.user_id) == who.subject
    if key is None or not (mine or (who.may(ANY) and who.kind is not Kind.KEY)):
        raise NotFoundError(f"there is no API key {key_id}")
    return key


def _event(
    who: Principal,
    key: Key,
    action: str,
    caller: Caller,
    now: dt.datetime,
    details: Mapping[str, str],
) -> AuditEvent:
    where = {"ip": caller.ip, "user_agent": caller.user_agent}
    return AuditEvent(
        event_type="security.key",
        actor=who.actor,
        action=action,
        resource=f"key:{key.id} of {key.user}",
        outcome="done",
        ts=now,
        details={**{name: text for name, text in where.items() if text}, **details},
    )
