"""API keys as they are written: `tw_<id>_<secret>`."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

KEY_PREFIX: Final = "tw_"
"""An API key begins so, which no JWT does."""
_ID_BYTES: Final = 10
_SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(r"tw_([a-z2-7]{16})_([A-Za-z0-9_-]{43})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyText:
    """What a key that was presented says: its id, and the hash of its secret."""

    id: str
    hash: bytes
    """SHA-256 of the secret; 256 random bits need no slow hash."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `text` is shown to its owner once."""

    id: str
    hash: bytes
    text: str

    def __repr__(self) -> str:
        """Return the id only."""
        return f"NewKey({self.id})"


def new_api_key() -> NewKey:
    """Return a key with an id of 80 and a secret of 256 random bits."""
    name = base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return NewKey(name, _hash(secret), f"{KEY_PREFIX}{name}_{secret}")


def parse_api_key(text: str) -> KeyText | None:
    """Return the parts of a key, None for anything that is not written like one."""
    found = _SHAPE.match(text)
    return None if found is None else KeyText(found[1], _hash(found[2]))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()
