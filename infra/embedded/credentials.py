"""Random secrets of one home, made once and readable by their owner only."""

from __future__ import annotations

import json
import secrets

from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home, read_json, write_private

SECRET_BYTES = 24


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
        if name not in self._secrets:
            self._secrets[name] = secrets.token_urlsafe(SECRET_BYTES)
            write_private(self._path, json.dumps(self._secrets, indent=1, sort_keys=True) + "\n")
        return self._secrets[name]
