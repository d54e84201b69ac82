"""The register of columns that are encrypted at rest: what `tradewind secret rotate` goes through.

Who encrypts a column takes its purpose from here, so that the rotation finds the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A text column of tokens of a SecretBox; `key` is the table's primary key (one column)."""

    table: str
    key: str
    column: str

    def __str__(self) -> str:
        """Return `table.column`."""
        return f"{self.table}.{self.column}"

    def purpose(self, key: object) -> str:
        """Return the purpose of the row `key`: a token is bound to its column and its row."""
        return f"{self}:{key}"


TOTP_SECRET: Final = EncryptedColumn("user_credentials", "user_id", "totp_secret")
SIGNING_KEY: Final = EncryptedColumn("signing_keys", "kid", "private_key")
STORED_SECRET: Final = EncryptedColumn("stored_secrets", "name", "ciphertext")

ENCRYPTED: Final = (TOTP_SECRET, SIGNING_KEY, STORED_SECRET)
"""All of them; the security service writes each of these tables."""
