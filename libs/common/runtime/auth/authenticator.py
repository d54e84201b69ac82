"""From what a request carries to who makes it: tokens, keys, revocations, in process.

Nothing here asks another service. Keys and revocations are read from PostgreSQL every few
seconds, revocations also come by broadcast; a token that has been checked is remembered until it
expires. While the database is away the last facts hold; before they were read for the first time
nobody is admitted.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from libs.common.contracts.envelope import Envelope
from libs.common.contracts.messages import Revocation
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.auth.clients import Address
from libs.common.runtime.auth.errors import unauthenticated
from libs.common.runtime.auth.key_text import KEY_PREFIX
from libs.common.runtime.auth.principal import Principal
from libs.common.runtime.auth.store import AccessFacts, VerificationKey
from libs.common.runtime.auth.tokens import kid_in, read
from libs.common.runtime.logging import get_logger

_log = get_logger(__name__)

REFRESH_S: Final = 2.0
REMEMBERED_MAX: Final = 4096
STEP_UP_WITHIN: Final = dt.timedelta(minutes=5)
"""How long a proof that it is really you lasts."""
WAIT_S: Final = 3.0
"""How long a request waits for keys and revocations to be read."""
_LOOK_S: Final = 1.0


class KeyDesk(Protocol):
    """Checks API keys."""

    async def admit(self, key: str, client: Address | None) -> Principal:
        """Return whom `key` speaks for, used from address `client`. Raises AccessError."""
        ...

    def outdate(self) -> None:
        """Look again before the next key is admitted: something was revoked."""
        ...


class Authenticator:
    """Tells who presents a token or a key. `read` returns the present facts, or raises
    UnavailableError."""

    def __init__(
        self,
        read: Callable[[], Awaitable[AccessFacts]],
        clock: Clock,
        keys: KeyDesk | None = None,
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self._read_facts = read
        self._clock = clock
        self._key_desk = keys
        self._wait_s = wait_s
        self._facts: AccessFacts | None = None
        self._heard: dict[str, dt.datetime] = {}
        self._tried_at = -_LOOK_S
        self._reading = asyncio.Lock()
        self._remembered: OrderedDict[bytes, Principal] = OrderedDict()

    async def identify(self, credential: str, client: Address | None = None) -> Principal:
        """Return whom a bearer credential speaks for.

        Raises AccessError for one that is not valid (any more), UnavailableError while nothing is
        known to check it with.
        """
        if credential.startswith(KEY_PREFIX):
            if self._key_desk is None:
                raise unauthenticated("unknown-key", "There is no such API key.")
            return self._standing(await self._key_desk.admit(credential, client))
        mark = hashlib.sha256(credential.encode()).digest()
        known = self._remembered.get(mark)
        if known is None:
            known = await self._check(credential)
            self._remember(mark, known)
        elif known.expires_at <= self._clock.now():
            self._remembered.pop(mark, None)
            raise unauthenticated("expired-token", "The token has expired.")
        return self._standing(known)

    def check(self, who: Principal) -> None:
        """See that who was identified a while ago would be let in still, for what goes on for
        long: streams and sockets. Raises AccessError."""
        if who.expires_at <= self._clock.now():
            raise unauthenticated("expired-token", "The token has expired.")
        self._standing(who)

    async def refresh(self) -> None:
        """Read keys and revocations anew. Raises UnavailableError."""
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        self._tried_at = time.monotonic()
        # What is heard while the tables are being read may be newer than what they tell.
        self._heard.clear()
        facts = await self._read_facts()
        facts.revoked.update(self._heard)
        if self._facts is not None and facts.keys.keys() != self._facts.keys.keys():
            self._remembered.clear()
        self._facts = facts

    async def watch(self) -> None:
        """Keep the facts fresh; runs until it is cancelled."""
        while True:
            try:
                await self.refresh()
            except UnavailableError as error:
                _log.warning("access_facts_wait", error=str(error))
            await asyncio.sleep(REFRESH_S)

    async def hear(self, message: Envelope[Revocation]) -> None:
        """Take a revocation at once."""
        if self._key_desk is not None:
            self._key_desk.outdate()
        self._heard[message.payload.subject] = message.payload.revoked_at
        if self._facts is not None:
            self._facts.revoked[message.payload.subject] = message.payload.revoked_at

    async def _check(self, token: str) -> Principal:
        key = await self._key(kid_in(token))
        now = self._clock.now()
        if key.not_after is not None and key.not_after <= now:
            raise unauthenticated("unknown-token-key", "The token's key is not in use any more.")
        return read(token, key.public, key.issuer, now)

    async def _key(self, kid: str) -> VerificationKey:
        if self._facts is None or kid not in self._facts.keys:
            await self._look()
        if self._facts is None:
            raise UnavailableError("the keys that tokens are checked with cannot be read yet")
        key = self._facts.keys.get(kid)
        if key is None:
            raise unauthenticated("unknown-token-key", "The token's key is not known.")
        return key

    async def _look(self) -> None:
        """Read the facts for a key that is not known: a new one, or an invented one. Either way
        one look a second is enough, and who has to wait long for it is told to come again."""
        try:
            async with asyncio.timeout(self._wait_s), self._reading:
                if time.monotonic() - self._tried_at >= _LOOK_S:
                    await self._read()
        except TimeoutError as error:
            raise UnavailableError(
                "the keys that tokens are checked with cannot be read now"
            ) from error

    def _standing(self, who: Principal) -> Principal:
        """Return `who` unless revoked meanwhile."""
        revoked = {} if self._facts is None else self._facts.revoked
        if revoked:
            for subject in who.revocable_as:
                at = revoked.get(subject)
                if at is not None and who.issued_at <= at:
                    raise unauthenticated("revoked", "The session or key has been revoked.")
        return who

    def _remember(self, mark: bytes, who: Principal) -> None:
        self._remembered[mark] = who
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
