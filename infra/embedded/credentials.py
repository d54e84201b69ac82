"""Random secrets of one home, made once and readable by their owner only."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable

from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home, read_json, write_private

SECRET_BYTES = 24
KEY_BYTES = 32


class Credentials:
    """Named secrets in `credentials/secrets.json` (mode 600); a new name gets a fresh secret."""

    def __init__(self, home: Home) -> None:
        self._path = home.credentials / "secrets.json"
        values = read_json(self._path)
        if self._path.exists() and self._path.stat().st_mode & 0o077:
            raise EmbeddedError(
                f"{self._path} can be read by other users",
                f"chmod 600 {self._path} (and consider its secrets known: delete it with the "
                "books it belongs to)",
            )
        self._secrets = {name: str(value) for name, value in values.items()}

    def secret(self, name: str) -> str:
        """Return the secret called `name`, making it on first use."""
        return self._kept(name, lambda: secrets.token_urlsafe(SECRET_BYTES))

    def key(self, name: str) -> str:
        """Return the encryption keys called `name`, newest first, making one on first use."""
        return self._kept(name, fresh_key)

    def add_key(self, name: str) -> int:
        """Put a fresh encryption key before those called `name`; return how many there are now."""
        keys = [fresh_key(), *filter(None, self._secrets.get(name, "").split(","))]
        self._keep(name, ",".join(keys))
        return len(keys)

    def seed(self, name: str) -> str:
        """Return the seed of the signing key called `name` (64 hex digits), making it on first
        use."""
        return self._kept(name, lambda: secrets.token_bytes(KEY_BYTES).hex())

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        if name not in self._secrets:
            self._keep(name, make())
        return self._secrets[name]

    def _keep(self, name: str, value: str) -> None:
        self._secrets[name] = value
        write_private(self._path, json.dumps(self._secrets, indent=1, sort_keys=True) + "\n")


def fresh_key() -> str:
    """Return a new encryption key: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()
