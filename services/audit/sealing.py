"""Personal data in the record: encrypted before it is hashed, readable for whom it concerns only.

Each month has a data key of its own, kept in `audit_keys` encrypted by the installation's keys.
Rotating those encrypts the data keys anew and no row; erasing a month's data key makes its personal
data unreadable for good and leaves every hash as it is. Encryption is AES-SIV (RFC 5297), which
gives the same token for the same value of a field within a month: what came from one address can be
found, and that two rows share an address can be seen, without the key.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from libs.common.runtime.secrets import SecretBox, UnreadableError

FIELDS: Final = frozenset(
    {
        "address", "display_name", "email", "first_name", "full_name", "ip", "last_name", "phone",
        "user_agent",
    }
)  # fmt: skip
"""Names of the details that are personal; `actor` is not among them: who did it is the record."""
PREFIX: Final = "enc1:"
HIDDEN: Final = "***"
ERASED: Final = "erased"
_NESTED: Final = (dict, list)
_KEY_BITS: Final = 512
TOKENS_MAX: Final = 1024
"""Tokens that a key remembers."""


def period_of(moment: dt.datetime) -> str:
    """Return the month whose key is used at `moment`: `2026-11`."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m")


class DataKey:
    """A month's key."""

    def __init__(self, period: str, key: bytes) -> None:
        self.period = period
        self._cipher = AESSIV(key)
        # The same few addresses and agents come again and again, and their tokens are the same.
        self._tokens = lru_cache(maxsize=TOKENS_MAX)(self._token)

    def __repr__(self) -> str:
        """Return whose key it is."""
        return f"DataKey({self.period})"

    def seal(self, field: str, value: str) -> str:
        """Return `value` as a token of the field."""
        return self._tokens(field, value) if value else value

    def _token(self, field: str, value: str) -> str:
        sealed = self._cipher.encrypt(value.encode(), [field.encode()])
        return f"{PREFIX}{self.period}:{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, field: str, token: str) -> str:
        """Return the value of a token. Raises UnreadableError."""
        try:
            sealed = base64.b64decode(token.rsplit(":", 1)[1], altchars=b"-_", validate=True)
            return self._cipher.decrypt(sealed, [field.encode()]).decode()
        except (InvalidTag, binascii.Error, ValueError, IndexError) as error:
            raise UnreadableError(f"{field}: this token was not made with this key") from error


class KeyTable(Protocol):
    """Where the wrapped keys are."""

    async def wrapped(self, period: str, fresh: str | None) -> str | None:
        """Return a period's wrapped key, None where it was erased or there is none; with `fresh`
        that one is kept where there is none."""
        ...

    async def periods(self) -> Mapping[str, str | None]:
        """Return all periods with their wrapped keys, None where it was erased."""
        ...

    async def rewrap(self, period: str, wrapped: str) -> None:
        """Keep a period's key under another wrapping."""
        ...


class Sealer:
    """Seals with the key of the month, opens with those that are left."""

    def __init__(self, table: KeyTable, box: SecretBox) -> None:
        self._table = table
        self._box = box
        self._keys: dict[str, DataKey] = {}

    async def key_at(self, moment: dt.datetime) -> DataKey:
        """Return the key of the month, made if it is the month's first. Raises UnavailableError,
        UnreadableError."""
        period = period_of(moment)
        known = self._keys.get(period)
        if known is not None:
            return known
        wrapped = await self._table.wrapped(
            period, self._box.encrypt(AESSIV.generate_key(_KEY_BITS), _purpose(period))
        )
        if wrapped is None:
            raise UnreadableError(f"the key of {period} was erased: nothing more is sealed with it")
        return self._unwrapped(period, wrapped)

    async def load(self) -> None:
        """Read all keys that are left, and forget those that are not."""
        left = {name: wrapped for name, wrapped in (await self._table.periods()).items() if wrapped}
        self._keys = {name: key for name, key in self._keys.items() if name in left}
        for period, wrapped in left.items():
            if period not in self._keys:
                self._unwrapped(period, wrapped)

    async def rotate(self) -> int:
        """Wrap every key with the newest of the installation's keys; return how many were not."""
        count = 0
        for period, wrapped in (await self._table.periods()).items():
            fresh = self._box.rotate(wrapped, _purpose(period)) if wrapped else None
            if fresh is not None:
                await self._table.rewrap(period, fresh)
                count += 1
        return count

    def tokens(self, field: str, value: str) -> list[str]:
        """Return the tokens that `value` has in any month whose key is loaded."""
        return [key.seal(field, value) for key in self._keys.values()]

    def revealed(self, value: Any, name: str = "") -> Any:
        """Return `value` with every token that can be opened as what it was, at any depth."""
        if isinstance(value, dict):
            return {key: self.revealed(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [self.revealed(part, name) for part in value]
        if isinstance(value, str) and value.startswith(PREFIX):
            key = self._keys.get(value.split(":", 2)[1])
            try:
                return ERASED if key is None else key.open(name, value)
            except UnreadableError:
                return value  # somebody else's words that only begin like a token
        return value

    def _unwrapped(self, period: str, wrapped: str) -> DataKey:
        key = DataKey(period, self._box.decrypt(wrapped, _purpose(period)))
        self._keys[period] = key
        return key


def sealed(value: Any, key: DataKey | None, fields: Iterable[str] = FIELDS) -> Any:
    """Return `value` with every personal detail sealed, at any depth; hidden without a key."""
    if isinstance(value, dict):
        return {
            name: _sealed_field(name, part, key)
            if name in fields and isinstance(part, str)
            else (sealed(part, key, fields) if isinstance(part, _NESTED) else part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [sealed(part, key, fields) for part in value]
    return value


def _sealed_field(name: str, value: str, key: DataKey | None) -> str:
    if not value:
        return value
    return HIDDEN if key is None else key.seal(name, value)


def _purpose(period: str) -> str:
    return f"audit_keys:{period}"
