"""API keys: whom they speak for, from where, how often.

All live keys and what their owners may are held in memory, read again every few seconds, when a
revocation is heard, and (at most once a second) when an unknown key is presented. No request waits
for the database for longer than WAIT_S: then what was read last holds, and whoever's revocation was
heard is turned away by the authenticator. A key never allows more than its owner may at that
moment.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.auth.clients import Address, is_in
from libs.common.runtime.auth.errors import AccessError, denied, unauthenticated
from libs.common.runtime.auth.key_store import ApiKey
from libs.common.runtime.auth.key_text import parse_api_key
from libs.common.runtime.auth.principal import Kind, Principal
from libs.common.runtime.auth.roles import ALL_ACCOUNTS, permissions_of
from libs.common.runtime.logging import get_logger

_log = get_logger(__name__)

REFRESH_S: Final = 2.0
WAIT_S: Final = 3.0
"""How long a request waits for the keys to be read."""
_LOOK_S: Final = 1.0
_NO_HASH: Final = bytes(32)


class Rate(Protocol):
    """Counts uses."""

    async def wait_s(self, whom: str, per_minute: int) -> int:
        """Count one more; return 0, or after how many seconds to come again."""
        ...


class ApiKeys:
    """Checks API keys. `read` returns the live ones or raises UnavailableError; `used` is told of
    each use."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Mapping[str, ApiKey]]],
        rate: Rate,
        clock: Clock,
        used: Callable[[str, dt.datetime, str], None],
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self._read_keys = read
        self._rate = rate
        self._clock = clock
        self._used = used
        self._wait_s = wait_s
        self._keys: Mapping[str, ApiKey] | None = None
        self._read_at = clock.now()
        self._tried_at = -_LOOK_S
        self._outdated = asyncio.Event()
        self._reading = asyncio.Lock()

    async def admit(self, key: str, client: Address | None) -> Principal:
        """Return whom `key` speaks for, used from address `client`.

        Raises AccessError: 401 for a key that is not valid (any more), 403 from a foreign
        network, 429 above its rate; UnavailableError while the keys cannot be read.
        """
        given = parse_api_key(key)
        if given is None:
            raise unauthenticated("unknown-key", "This is not written like an API key.")
        known = await self._find(given.id)
        right = hmac.compare_digest(given.hash, known.hash if known else _NO_HASH)
        if known is None or not right:
            raise unauthenticated("unknown-key", "There is no such API key.")
        now = self._clock.now()
        if known.revoked_at is not None or not known.owner_active:
            raise unauthenticated("revoked", "The API key, or its owner, is not admitted any more.")
        if known.expires_at <= now:
            raise unauthenticated("expired-key", "The API key has expired.")
        if known.networks and not is_in(client, known.networks):
            raise denied("key-network", f"The API key is not admitted from {client or 'there'}.")
        wait_s = await self._rate.wait_s(f"key:{known.id}", known.rate_per_minute)
        if wait_s:
            raise AccessError(
                429,
                "key-rate",
                f"The API key allows {known.rate_per_minute} requests a minute.",
                {"Retry-After": str(wait_s)},
            )
        self._used(known.id, now, str(client or ""))
        return _principal(known, self._read_at)

    def outdate(self) -> None:
        """Read the keys again before the next one is admitted: something was revoked."""
        self._outdated.set()

    async def watch(self) -> None:
        """Keep the keys fresh; runs until it is cancelled."""
        while True:
            async with self._reading:
                await self._read_if_possible()
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._outdated.wait()
            except TimeoutError:
                continue

    async def _find(self, key_id: str) -> ApiKey | None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._look_for(key_id)
        if self._keys is None:
            raise UnavailableError("the API keys cannot be read yet")
        return self._known(key_id)

    async def _look_for(self, key_id: str) -> None:
        """Read the keys if they are out of date or do not have this one."""
        if self._outdated.is_set():
            async with self._reading:
                if self._outdated.is_set():
                    await self._read_if_possible()
        arrived = time.monotonic()
        while self._known(key_id) is None and self._tried_at < arrived:
            # A new key, or an invented one: either waits for the next look, which all share.
            await asyncio.sleep(max(0.0, self._tried_at + _LOOK_S - arrived))
            async with self._reading:
                if self._tried_at < arrived:
                    await self._read_if_possible()

    def _known(self, key_id: str) -> ApiKey | None:
        return None if self._keys is None else self._keys.get(key_id)

    async def _read_if_possible(self) -> None:
        """Read the keys; while the database is away what was read last holds. Whose revocation
        has been heard is turned away by the authenticator all the same."""
        self._tried_at = time.monotonic()
        self._outdated.clear()
        began = self._clock.now()
        try:
            self._keys = await self._read_keys()
        except UnavailableError as error:
            _log.warning("api_keys_wait", error=str(error))
        else:
            self._read_at = began


def _principal(key: ApiKey, known_since: dt.datetime) -> Principal:
    """Return the caller; `issued_at` is when we learned what it may, as with a token."""
    return Principal(
        kind=Kind.KEY,
        subject=key.owner_id,
        name=key.owner,
        roles=key.owner_roles,
        permissions=key.permissions & permissions_of(key.owner_roles),
        accounts=common_accounts(key.accounts, key.owner_accounts),
        issued_at=known_since,
        expires_at=key.expires_at,
        key_id=key.id,
        may_step_up=key.may_step_up,
    )


def common_accounts(these: frozenset[str], those: frozenset[str]) -> frozenset[str]:
    """Return the accounts that are in both; `*` stands for all."""
    if ALL_ACCOUNTS in those:
        return these
    if ALL_ACCOUNTS in these:
        return those
    return these & those
