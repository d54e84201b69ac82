"""The keys that tokens are signed with: made at first start, kept encrypted, replaced in time.

A new key is published at once and signs some seconds later, when every service knows it; the old
one then verifies until its last token has expired.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.auth.roles import NEWCOMER
from libs.common.runtime.auth.tokens import SKEW, kid_of, user_token
from libs.common.runtime.logging import get_logger
from libs.common.runtime.secrets import SIGNING_KEY, SecretBox
from services.security.events import SYSTEM, Events
from services.security.ports import KeyRow, Session, Store, User, Work
from services.security.settings import SecuritySettings

_log = get_logger(__name__)

LOCK: Final = "signing keys"


class Keyring:
    """Signs access tokens. `made_known` is awaited when the keys have changed."""

    def __init__(
        self,
        store: Store,
        box: SecretBox,
        clock: Clock,
        events: Events,
        settings: SecuritySettings,
        made_known: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._box = box
        self._clock = clock
        self._events = events
        self._made_known = made_known
        self._check_s = settings.signing_check_s
        self._publish = dt.timedelta(seconds=settings.signing_publish_s)
        self._age_max = dt.timedelta(seconds=settings.signing_key_s)
        self._ttl = dt.timedelta(seconds=settings.access_token_s)
        self._keys: dict[str, Ed25519PrivateKey] = {}
        self._rows: tuple[KeyRow, ...] = ()

    @property
    def kid(self) -> str:
        """Return the name of the key that signs now: the oldest that is not retired yet."""
        now = self._clock.now()
        valid = [row for row in self._rows if row.retired_at is None or row.retired_at > now]
        return valid[-1].kid

    async def load(self) -> None:
        """Read the keys, make the first one, replace one that is too old, forget what is over.

        Raises UnavailableError, UnreadableError.
        """
        now = self._clock.now()
        async with self._store.work() as work:
            await work.sweep(now)
            rows = await work.signing_keys()
            if not rows or now - rows[0].created_at >= self._age_max:
                rows = await self._replaced(work, SYSTEM, only_if_due=True)
        await self._take(rows)

    async def rotate(self, actor: str) -> KeyRow:
        """Make a new key, which signs when every service knows it; return it.

        Raises UnavailableError.
        """
        async with self._store.work() as work:
            rows = await self._replaced(work, actor, only_if_due=False)
        await self._take(rows)
        return rows[0]

    @property
    def publish(self) -> dt.timedelta:
        """Return how long after it was made a new key begins to sign."""
        return self._publish

    async def watch(self) -> None:
        """Keep the keys up to date, also with what another instance does; runs until cancelled."""
        while True:
            await asyncio.sleep(self._check_s)
            try:
                await self.load()
            except UnavailableError as error:
                _log.warning("signing_keys_wait", error=str(error))

    def access_token(self, user: User, session: Session) -> str:
        """Return a token of `session`. Who must change the password may do only that."""
        return user_token(
            self._keys[self.kid],
            user_id=user.id,
            name=user.name,
            roles=(NEWCOMER,) if user.must_change_password else user.roles,
            accounts=user.accounts,
            session_id=session.id,
            now=self._clock.now(),
            ttl=self._ttl,
            stepped_up_at=session.stepped_up_at,
        )

    def family_keys(self) -> tuple[bytes, ...]:
        """Return the keys that successors of refresh tokens may have been made with, newest
        first."""
        return tuple(
            HKDF(algorithm=SHA256(), length=32, salt=None, info=b"tradewind refresh family").derive(
                key.private_bytes_raw()
            )
            for key in self._keys.values()
        )

    async def _replaced(self, work: Work, actor: str, *, only_if_due: bool) -> Sequence[KeyRow]:
        await work.lock(LOCK)
        now = self._clock.now()
        rows = await work.signing_keys()
        if only_if_due and rows and now - rows[0].created_at < self._age_max:
            return rows
        private = Ed25519PrivateKey.generate()
        kid = kid_of(private.public_key())
        key = KeyRow(
            kid=kid,
            private=self._box.encrypt(private.private_bytes_raw(), SIGNING_KEY.purpose(kid)),
            public=private.public_key().public_bytes_raw(),
            created_at=now,
        )
        for row in rows:
            if row.retired_at is None:
                until = now + self._publish
                await work.retire_key(row.kid, until, until + self._ttl + SKEW)
        await work.add_key(key)
        await work.tell(self._events.signing_key(actor, key.kid, rows[0].kid if rows else ""))
        return await work.signing_keys()

    async def _take(self, rows: Sequence[KeyRow]) -> None:
        known, self._rows = self._keys, tuple(rows)
        self._keys = {row.kid: known.get(row.kid) or self._opened(row) for row in rows}
        if self._keys.keys() != known.keys():
            await self._made_known()

    def _opened(self, row: KeyRow) -> Ed25519PrivateKey:
        private = self._box.decrypt(row.private, SIGNING_KEY.purpose(row.kid))
        return Ed25519PrivateKey.from_private_bytes(private)
