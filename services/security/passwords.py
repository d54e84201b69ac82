"""argon2id in a few threads of its own: logins wait for each other, nobody else for them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from libs.common.runtime.auth.errors import AccessError
from services.security.metrics import PASSWORDS_REFUSED, PASSWORDS_WAITING
from services.security.policy import fresh_password, normal
from services.security.settings import SecuritySettings

_NICENESS: Final = 5
T = TypeVar("T")


class BusyError(AccessError):
    """More passwords wait to be checked than may."""

    def __init__(self, waiting_max: int, retry_after_s: int) -> None:
        super().__init__(
            503,
            "busy",
            f"{waiting_max} passwords wait to be checked already; try again in {retry_after_s} s.",
            {"Retry-After": str(retry_after_s)},
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether the password was right, and whether its hash is of older parameters."""

    right: bool
    outdated: bool = False


class Passwords:
    """Hashes and checks passwords. At most `password_threads` at once; a bounded number waits."""

    def __init__(self, settings: SecuritySettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.password_time_cost,
            memory_cost=settings.password_memory_kib,
            parallelism=settings.password_lanes,
            type=Type.ID,
        )
        self._threads = settings.password_threads
        self._waiting_max = settings.password_waiting_max
        self._pool = ThreadPoolExecutor(
            settings.password_threads, thread_name_prefix="password", initializer=_step_back
        )
        self._held = 0
        self._dummy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of `password`. Raises BusyError."""
        return await self._in_turn(lambda: self._hasher.hash(normal(password)))

    async def check(self, kept: str | None, password: str) -> Checked:
        """Compare `password` with the hash `kept`; without one do the same work for nothing.

        Raises BusyError.
        """
        return await self._in_turn(lambda: self._checked(kept, normal(password)))

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _checked(self, kept: str | None, password: str) -> Checked:
        if kept is None:
            self._verified(self._nobody(), password)
            return Checked(False)
        if not self._verified(kept, password):
            return Checked(False)
        return Checked(True, self._hasher.check_needs_rehash(kept))

    def _verified(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False

    def _nobody(self) -> str:
        if self._dummy is None:
            self._dummy = self._hasher.hash(fresh_password())
        return self._dummy

    async def warm_up(self) -> None:
        """Make the hash of nobody, so that the first unknown name takes no longer than others."""
        await self._in_turn(self._nobody)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._held >= self._threads + self._waiting_max:
            PASSWORDS_REFUSED.inc()
            raise BusyError(self._waiting_max, 1 + self._held // (8 * self._threads))
        self._held += 1
        PASSWORDS_WAITING.set(self._held)
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # Counted until the thread is free, not until the caller has lost patience.
        future.add_done_callback(self._let_go)
        return await asyncio.shield(future)

    def _let_go(self, future: asyncio.Future[T]) -> None:
        self._held -= 1
        PASSWORDS_WAITING.set(self._held)
        if not future.cancelled():
            future.exception()


def _step_back() -> None:
    """Let every other thread of the machine go first: nobody but the login waits for this one."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
