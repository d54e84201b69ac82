"""Recovery codes: ten, shown once, kept as hashes, each good for one login."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

COUNT: Final = 10
BYTES: Final = 10
_GROUP: Final = 4


def fresh_codes() -> tuple[str, ...]:
    """Return ten codes of 80 random bits, like `k3vq-7x2m-…` in four groups of four."""
    return tuple(_grouped(secrets.token_bytes(BYTES)) for _ in range(COUNT))


def hash_of(code: str) -> str:
    """Return the SHA-256 by which a code is known; 80 random bits need no slow hash.

    Blanks, hyphens and capitals make no difference.
    """
    plain = "".join(code.split()).replace("-", "").lower()
    return hashlib.sha256(plain.encode()).hexdigest()


def without(hashes: Sequence[str], code: str) -> tuple[str, ...] | None:
    """Return `hashes` less that of `code`, None if it is not among them."""
    given = hash_of(code)
    left = tuple(kept for kept in hashes if not hmac.compare_digest(kept, given))
    return left if len(left) < len(hashes) else None


def _grouped(data: bytes) -> str:
    text = base64.b32encode(data).decode("ascii").lower()
    return "-".join(text[at : at + _GROUP] for at in range(0, len(text), _GROUP))
