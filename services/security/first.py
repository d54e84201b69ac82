"""The first start: one administrator with a random password, told once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libs.common.kernel.clock import Clock
from libs.common.kernel.ids import IdSource
from libs.common.runtime.logging import get_logger
from services.security.events import NOWHERE, SYSTEM, Events
from services.security.passwords import Passwords
from services.security.policy import fresh_password
from services.security.ports import (
    ALL_ACCOUNTS,
    Credentials,
    Person,
    State,
    Store,
    User,
)
from services.security.settings import SecuritySettings

_log = get_logger(__name__)

FIRST_NAME: Final = "admin"
LOCK: Final = "first start"


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


@dataclass(frozen=True)
class FirstStart:
    """Makes the first administrator where there is no user at all.

    The password is the one that the installation was given, else a random one: written to a file
    that only its owner reads, or printed, this once. It must be changed at the first login.
    """

    store: Store
    passwords: Passwords
    clock: Clock
    ids: IdSource
    events: Events
    settings: SecuritySettings
    say: Callable[[str], None] = field(default=_print)

    async def run(self) -> None:
        """Make the administrator if there is nobody. Raises UnavailableError."""
        async with self.store.work() as work:
            if await work.users_exist():
                return
        given = self.settings.first_password.get_secret_value()
        password = given or fresh_password()
        person = self._person(await self.passwords.hash(password))
        async with self.store.work() as work:
            await work.lock(LOCK)
            if await work.users_exist():
                return
            await work.add_person(person)
            await work.tell(self.events.user_changed(SYSTEM, person.user, "create", NOWHERE))
            # Told before the commit: a password nobody was told would lock everybody out.
            if not given:
                self._tell(password)
        _log.info("first_administrator", name=FIRST_NAME)

    def forget(self, name: str) -> None:
        """Delete the file of the first password: it has been changed."""
        path = self.settings.first_password_out
        if path is not None and name == FIRST_NAME:
            path.unlink(missing_ok=True)

    def _person(self, password_hash: str) -> Person:
        now = self.clock.now()
        user = User(
            id=self.ids.new(),
            name=FIRST_NAME,
            display_name="Administrator",
            roles=("admin",),
            accounts=(ALL_ACCOUNTS,),
            state=State.ACTIVE,
            must_change_password=True,
            totp_enabled=False,
            created_at=now,
            updated_at=now,
            password_changed_at=now,
        )
        return Person(user, Credentials(user.id, password_hash))

    def _tell(self, password: str) -> None:
        path = self.settings.first_password_out
        if path is None:
            self.say(
                f"First start: user {FIRST_NAME}, password {password} (shown this once; it must "
                "be changed at the first login)"
            )
            return
        write_private(path, f"{password}\n")
        self.say(f"First start: the password of user {FIRST_NAME} lies in {path}")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can ever read."""
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
