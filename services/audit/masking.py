"""What is never recorded, secrets, and how names are written that a column holds."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

SECRET_WORDS: Final = ("password", "secret", "token", "api_key", "authorization", "totp")
MASK: Final = "***"
NAME_CHARS_MAX: Final = 500
"""Longest that a name is in a column; the index of PostgreSQL refuses what is above 2 700 bytes.
What is cut off stands in the details."""
_NESTED: Final = (dict, list)


def masked(value: Any) -> Any:
    """Return `value` with everything under a secret's name replaced by `***`, at any depth."""
    if isinstance(value, dict):
        return {key: _masked_part(key, part) for key, part in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


def _masked_part(key: str, part: Any) -> Any:
    if part and _is_secret(key):
        return MASK
    return masked(part) if isinstance(part, _NESTED) else part


@lru_cache(maxsize=4096)
def _is_secret(field: str) -> bool:
    lowered = field.lower()
    return any(word in lowered for word in SECRET_WORDS)


def name(value: str) -> str:
    """Return `value` as long as a column takes it."""
    return plain(value if len(value) <= NAME_CHARS_MAX else f"{value[: NAME_CHARS_MAX - 1]}…")


def plain(value: str) -> str:
    """Return `value` without NUL, which PostgreSQL's text does not hold."""
    return value.replace("\x00", "\ufffd")
