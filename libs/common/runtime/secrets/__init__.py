"""Secrets: fields encrypted at rest, and where the settings' secrets come from."""

from libs.common.runtime.secrets.box import SecretBox, UnreadableError, new_key
from libs.common.runtime.secrets.columns import (
    ENCRYPTED,
    SIGNING_KEY,
    STORED_SECRET,
    TOTP_SECRET,
    EncryptedColumn,
)

__all__ = [
    "ENCRYPTED",
    "SIGNING_KEY",
    "STORED_SECRET",
    "TOTP_SECRET",
    "EncryptedColumn",
    "SecretBox",
    "UnreadableError",
    "new_key",
]
