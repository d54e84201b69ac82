"""The one door: a password, a one-time code, a recovery code, and what a wrong one leads to."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final
from uuid import UUID

from libs.common.kernel.clock import NS_PER_SECOND, Clock
from libs.common.runtime.auth.errors import AccessError, denied, unauthenticated
from libs.common.runtime.secrets import TOTP_SECRET, SecretBox
from services.security import recovery, totp
from services.security.events import Events
from services.security.limits import LoginLimits
from services.security.lock_out import after_failure, after_success, answer_after_s, is_locked
from services.security.metrics import LOCK_OUTS
from services.security.passwords import Passwords
from services.security.ports import Caller, Credentials, Person, State, Store, Work
from services.security.settings import SecuritySettings

LOGIN: Final = "log in"
REFUSED: Final = (
    "Name, password or code is wrong, or too many failures have locked the user out for a while."
)


class Verdict(Enum):
    """What became of an attempt."""

    GOOD = "done"
    REFUSED = "refused"
    FACTOR_WANTED = "factor-wanted"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A password that has been looked at, outside of any transaction.

    `right` also where none is asked for; `fresh_hash` replaces a hash of older parameters.
    """

    name: str
    caller: Caller
    started_ns: int
    person: Person | None
    right: bool
    fresh_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """How an attempt ended; `person` as it stands after a good one."""

    verdict: Verdict
    person: Person | None = None


@dataclass(frozen=True)
class Prover:
    """Checks proofs. Every way in, and every step-up, goes through here and is counted here."""

    store: Store
    passwords: Passwords
    limits: LoginLimits
    box: SecretBox
    clock: Clock
    events: Events
    settings: SecuritySettings

    async def look(self, name: str, password: str, caller: Caller) -> Attempt:
        """Check a password; for a name that nobody has, do the same work.

        Raises TooManyError, BusyError, UnavailableError.
        """
        started_ns = self.clock.monotonic_ns()
        await self.limits.count(name, caller.ip)
        person = await self.store.find(name)
        kept = None if person is None else person.credentials.password_hash
        checked = await self.passwords.check(kept, password)
        fresh = await self.passwords.hash(password) if checked.outdated else None
        return Attempt(name, caller, started_ns, person, checked.right, fresh)

    async def without_password(self, person: Person, caller: Caller) -> Attempt:
        """Begin an attempt that a code alone decides. Raises TooManyError."""
        started_ns = self.clock.monotonic_ns()
        await self.limits.count(person.user.name, caller.ip)
        return Attempt(person.user.name, caller, started_ns, person, right=True)

    async def settle(
        self, work: Work, attempt: Attempt, what: str, code: str | None, *, with_code: bool = True
    ) -> Settled:
        """Judge an attempt and keep what follows from it, in the caller's transaction.

        With `with_code` a user of one-time codes must give one. While a user is locked out the
        right password is refused like a wrong one: otherwise the lock would tell which is right.
        """
        person = None
        if attempt.person is not None:
            person = await work.person(attempt.person.user.id)
        if person is None or attempt.person is None:
            await work.tell(self.events.proof(None, what, "refused", attempt.caller, "unknown"))
            return Settled(Verdict.REFUSED)
        user, credentials, now = person.user, person.credentials, self.clock.now()
        if user.state is not State.ACTIVE or is_locked(credentials, now):
            why = "locked out" if user.state is State.ACTIVE else "disabled"
            await work.tell(self.events.proof(user, what, "refused", attempt.caller, why))
            return Settled(Verdict.REFUSED)
        same = credentials.password_hash == attempt.person.credentials.password_hash
        if not attempt.right or not same:
            return await self._fail(work, person, attempt.caller, what, "wrong password")
        if with_code and user.totp_enabled:
            if code is None:
                await work.tell(
                    self.events.proof(user, what, Verdict.FACTOR_WANTED.value, attempt.caller)
                )
                return Settled(Verdict.FACTOR_WANTED)
            accepted = self._accepted(credentials, code, now)
            if accepted is None:
                return await self._fail(work, person, attempt.caller, what, "wrong code")
            credentials = accepted
        kept = after_success(credentials)
        if attempt.fresh_hash is not None:
            kept = replace(kept, password_hash=attempt.fresh_hash)
        await work.save_credentials(kept)
        used = len(person.credentials.recovery_hashes) > len(kept.recovery_hashes)
        reason = "by a recovery code" if used else ""
        await work.tell(self.events.proof(user, what, "done", attempt.caller, reason))
        return Settled(Verdict.GOOD, Person(user, kept))

    async def conclude(self, attempt: Attempt, settled: Settled, what: str) -> Person:
        """Return who it is, after the transaction; else answer late, and later each time.

        Raises AccessError.
        """
        if settled.verdict is Verdict.GOOD and settled.person is not None:
            await self.limits.forget(attempt.name)
            return settled.person
        if settled.verdict is Verdict.FACTOR_WANTED:
            raise _turned_away(what, "factor-required", "A one-time or recovery code is needed.")
        await self._hold(attempt)
        raise _turned_away(what, "wrong-proof", REFUSED)

    def secret_of(self, user_id: UUID, credentials: Credentials) -> str | None:
        """Return the secret of one-time codes in clear."""
        if credentials.totp_secret is None:
            return None
        purpose = TOTP_SECRET.purpose(user_id)
        return self.box.decrypt(credentials.totp_secret, purpose).decode("ascii")

    def _accepted(
        self, credentials: Credentials, code: str, now: dt.datetime
    ) -> Credentials | None:
        """Return the credentials less what `code` used up, None if it is wrong."""
        if totp.looks_like_code(code):
            secret = self.secret_of(credentials.user_id, credentials)
            if secret is None:
                return None
            step = totp.accepted_step(secret, code, now, credentials.totp_last_step)
            return None if step is None else replace(credentials, totp_last_step=step)
        left = recovery.without(credentials.recovery_hashes, code)
        return None if left is None else replace(credentials, recovery_hashes=left)

    async def _fail(
        self, work: Work, person: Person, caller: Caller, what: str, why: str
    ) -> Settled:
        user, now = person.user, self.clock.now()
        kept = after_failure(
            person.credentials,
            now,
            self.settings.login_failures_max,
            dt.timedelta(seconds=self.settings.lock_out_s),
        )
        await work.save_credentials(kept)
        await work.tell(self.events.proof(user, what, "refused", caller, why))
        if kept.locked_until is not None and is_locked(kept, now):
            LOCK_OUTS.inc()
            for message in self.events.locked_out(user, kept.locked_until, caller):
                await work.tell(message)
        return Settled(Verdict.REFUSED)

    async def _hold(self, attempt: Attempt) -> None:
        failures = await self.limits.failed(attempt.name)
        due_s = answer_after_s(failures, self.settings.refusal_s, self.settings.refusal_s_max)
        past_s = (self.clock.monotonic_ns() - attempt.started_ns) / NS_PER_SECOND
        await asyncio.sleep(max(0.0, due_s - past_s))


def _turned_away(what: str, code: str, detail: str) -> AccessError:
    # Somebody who is in stays in: 401 would tell a client that its token is void.
    return unauthenticated(code, detail) if what == LOGIN else denied(code, detail)
