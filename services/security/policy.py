"""What a password must be like (after NIST SP 800-63B, section 5.1.1.2: length before rules)."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Final

from libs.common.kernel.errors import InvalidInputError

LENGTH_MAX: Final = 128
DIFFERENT_MIN: Final = 5
_RANDOM_BYTES: Final = 15


def normal(password: str) -> str:
    """Return `password` as it is hashed: one spelling for what looks the same (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, name: str, length_min: int) -> None:
    """Raise InvalidInputError, which never shows the password, unless it is good enough."""
    plain = normal(password)
    if not length_min <= len(plain) <= LENGTH_MAX:
        raise InvalidInputError(f"password: takes {length_min} to {LENGTH_MAX} characters")
    if len(set(plain)) < DIFFERENT_MIN:
        raise InvalidInputError(f"password: takes at least {DIFFERENT_MIN} different characters")
    if name.casefold() in plain.casefold():
        raise InvalidInputError("password: must not contain the user's name")


def fresh_password() -> str:
    """Return a random password of 20 characters (120 bits)."""
    return secrets.token_urlsafe(_RANDOM_BYTES)
