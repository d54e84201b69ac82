"""Encryption of single fields at rest, under keys that can be rotated."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.common.kernel.errors import InvalidInputError, TradewindError

if TYPE_CHECKING:
    from libs.common.runtime.settings import ServiceSettings

SETTING: Final = "TRADEWIND_ENCRYPTION_KEYS"
KEY_BYTES: Final = 32
PURPOSES_CACHED: Final = 256


class UnreadableError(TradewindError):
    """A token that none of our keys opens for this purpose; the message shows no part of it."""


def new_key() -> str:
    """Return a fresh key as the setting wants it: 32 random bytes in URL-safe base64."""
    return Fernet.generate_key().decode("ascii")


class SecretBox:
    """Encrypts with the first of its keys and decrypts with all of them.

    Each purpose (`users.totp`, `stored_secrets:broker_key`) has keys of its own, derived by
    HKDF-SHA256 (RFC 5869) with the purpose as info: what was encrypted for one field cannot be
    read as another one. Tokens are Fernet tokens: AES-128-CBC, HMAC-SHA256 and the time of
    encryption, in URL-safe base64.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Take `keys`, newest first. Raises InvalidInputError for none or a malformed one."""
        if not keys:
            raise InvalidInputError(
                f"{SETTING}: no key is given; set it, or name a file with {SETTING}_FILE "
                "(`tradewind secret new-key` makes one)"
            )
        self._roots = tuple(_read_key(key, place) for place, key in enumerate(keys, start=1))
        self._derived = lru_cache(maxsize=PURPOSES_CACHED)(self._derive)

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """Return the box of a service's settings. Raises InvalidInputError as the constructor."""
        text = settings.encryption_keys.get_secret_value()
        return cls(tuple(part.strip() for part in text.split(",") if part.strip()))

    def __repr__(self) -> str:
        """Return how many keys there are, and none of them."""
        return f"SecretBox({len(self._roots)} keys)"

    def encrypt(self, plain: bytes, purpose: str) -> str:
        """Return `plain` as a token that only `decrypt` with the same purpose opens."""
        return self._derived(purpose)[0].encrypt(plain).decode("ascii")

    def decrypt(self, token: str, purpose: str) -> bytes:
        """Return what was encrypted. Raises UnreadableError."""
        try:
            return self._derived(purpose)[1].decrypt(token.encode())
        except InvalidToken as error:
            raise UnreadableError(
                f"{purpose}: cannot be decrypted with any of the {len(self._roots)} keys of "
                f"{SETTING}: it was encrypted with another key or for another field, or changed"
            ) from error

    def rotate(self, token: str, purpose: str) -> str | None:
        """Return `token` encrypted with the first key, None if it is already.

        Raises UnreadableError.
        """
        first, _ = self._derived(purpose)
        try:
            first.decrypt(token.encode())
        except InvalidToken:
            return self.encrypt(self.decrypt(token, purpose), purpose)
        return None

    def _derive(self, purpose: str) -> tuple[Fernet, MultiFernet]:
        info = b"tradewind field " + purpose.encode()
        keys = [
            Fernet(
                base64.urlsafe_b64encode(
                    HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(root)
                )
            )
            for root in self._roots
        ]
        return keys[0], MultiFernet(keys)


def _read_key(text: str, place: int) -> bytes:
    try:
        key = base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidInputError(
            f"{SETTING}: key {place} is not {KEY_BYTES} bytes in URL-safe base64 (44 characters); "
            "`tradewind secret new-key` makes one"
        )
    return key
