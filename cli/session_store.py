"""The login that commands act by: one file for each gateway, readable by its owner only."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from cli.errors import CommandError
from infra.embedded.home import write_private


@dataclass(frozen=True, slots=True)
class StoredSession:
    """Tokens of one login; times in seconds since 1970, `expires_at` that of the access token."""

    url: str
    user: str
    session_id: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    totp: bool = False

    @classmethod
    def of(cls, url: str, grant: Mapping[str, Any]) -> Self:
        """Return what a login or refresh was answered with."""
        user = grant["user"]
        return cls(
            url=url,
            user=str(user["name"]),
            session_id=str(grant["session_id"]),
            access_token=str(grant["access_token"]),
            refresh_token=str(grant["refresh_token"]),
            expires_at=time.time() + float(grant["expires_in"]),
            totp=bool(user["totp_enabled"]),
        )

    def with_access(self, answer: Mapping[str, Any]) -> Self:
        """Return it with a new access token."""
        return replace(
            self,
            access_token=str(answer["access_token"]),
            expires_at=time.time() + float(answer["expires_in"]),
        )


class SessionStore:
    """The stored login at one gateway."""

    def __init__(self, url: str) -> None:
        self.url = url
        name = hashlib.sha256(url.encode()).hexdigest()[:16]
        self._path = config_dir() / "sessions" / f"{name}.json"

    def read(self) -> StoredSession | None:
        """Return the login, None without one. Raises CommandError for a file others can read."""
        try:
            mode = self._path.stat().st_mode
            text = self._path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CommandError(f"{self._path}: {error.strerror}") from error
        if mode & 0o077:
            raise CommandError(
                f"{self._path} can be read by other users: end the session with "
                f"`tradewind logout`, or chmod 600 {self._path}"
            )
        try:
            return StoredSession(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise CommandError(f"{self._path} holds no login; delete it and log in again") from (
                error
            )

    def write(self, session: StoredSession) -> None:
        """Keep a login."""
        self._prepare()
        write_private(self._path, json.dumps(asdict(session), indent=1) + "\n")

    def remove(self) -> bool:
        """Forget the login; tell whether there was one."""
        there = self._path.exists()
        self._path.unlink(missing_ok=True)
        return there

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other command change the login meanwhile."""
        self._prepare()
        handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _prepare(self) -> None:
        folder = self._path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        except OSError as error:
            raise CommandError(
                f"cannot keep a login in {folder}: {error.strerror}; XDG_CONFIG_HOME may name "
                "another place"
            ) from error


def config_dir() -> Path:
    """Return where the user's own settings of Tradewind lie."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "tradewind"
