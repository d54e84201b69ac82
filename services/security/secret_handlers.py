"""Secrets kept for other services, and the rotation of the keys that encrypt fields."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import InvalidInputError, NotFoundError
from libs.common.runtime.auth.principal import Principal
from libs.common.runtime.secrets import ENCRYPTED, STORED_SECRET, SecretBox, UnreadableError
from libs.common.runtime.secrets.stored import STORABLE
from services.security.ports import Caller
from services.security.secret_ports import SecretStore, StoredSecret

COLUMNS: Final = {str(column): column for column in ENCRYPTED}


@dataclass(frozen=True)
class SecretDesk:
    """What the handlers work with."""

    store: SecretStore
    box: SecretBox
    clock: Clock


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some rows of a column; `next` is where to go on, None at the end."""

    column: str
    rows: int
    rotated: int
    unreadable: tuple[str, ...]
    next: str | None


async def put(desk: SecretDesk, who: Principal, name: str, value: str, caller: Caller) -> None:
    """Keep a secret. Raises InvalidInputError for a name that nobody looks for."""
    _check_name(name)
    now = desk.clock.now()
    token = desk.box.encrypt(value.encode(), STORED_SECRET.purpose(name))
    async with desk.store.work() as work:
        await work.put(name, token, now)
        await work.tell(_event(who, f"secret:{name}", "store secret", caller, now, {}))


async def remove(desk: SecretDesk, who: Principal, name: str, caller: Caller) -> None:
    """Forget a secret. Raises NotFoundError."""
    now = desk.clock.now()
    async with desk.store.work() as work:
        if not await work.remove(name):
            raise NotFoundError(f"no secret {name} is stored")
        await work.tell(_event(who, f"secret:{name}", "remove secret", caller, now, {}))


async def listed(desk: SecretDesk) -> Sequence[StoredSecret]:
    """Return what is stored, without the values."""
    return await desk.store.secrets()


async def rotate(
    desk: SecretDesk, who: Principal, name: str, after: str, limit: int, caller: Caller
) -> Batch:
    """Encrypt up to `limit` rows of a column with the first key, those after `after`.

    Each batch is a transaction of its own; rows that are encrypted with it already are left
    alone, so that it may be broken off and begun again. What no key opens is named, not touched.
    Raises InvalidInputError for an unknown column.
    """
    column = COLUMNS.get(name)
    if column is None:
        raise InvalidInputError(f"column: {name} is not encrypted; {', '.join(COLUMNS)} are")
    now = desk.clock.now()
    fresh: dict[str, str] = {}
    unreadable = []
    async with desk.store.work() as work:
        rows = await work.tokens(column, after, limit)
        for key, token in rows:
            try:
                new = desk.box.rotate(token, column.purpose(key))
            except UnreadableError:
                unreadable.append(key)
                continue
            if new is not None:
                fresh[key] = new
        await work.replace(column, fresh)
        if rows:
            details = {"rows": str(len(rows)), "rotated": str(len(fresh))}
            if unreadable:
                details["unreadable"] = str(len(unreadable))
            await work.tell(_event(who, f"column:{name}", "rotate keys", caller, now, details))
    following = rows[-1][0] if len(rows) == limit else None
    return Batch(name, len(rows), len(fresh), tuple(unreadable), following)


def _check_name(name: str) -> None:
    if name not in STORABLE:
        raise InvalidInputError(f"name: nobody looks for {name}; {', '.join(STORABLE)} may be set")


def _event(
    who: Principal,
    resource: str,
    action: str,
    caller: Caller,
    now: dt.datetime,
    details: Mapping[str, str],
) -> AuditEvent:
    where = {"ip": caller.ip, "user_agent": caller.user_agent}
    return AuditEvent(
        event_type="security.secret",
        actor=who.actor,
        action=action,
        resource=resource,
        outcome="done",
        ts=now,
        details={**{name: text for name, text in where.items() if text}, **details},
    )
