"""The home directory: where the embedded system keeps its state, logs and credentials."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import EmbeddedError

MEBIBYTE = 1024 * 1024
DEFAULT_BOOKS = "history"


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one home; `books` names whose books these are (`history`, `alpaca`, …).

    Books of different markets are kept apart: a session on replayed data of 2013 and one on a
    paper account share neither orders nor cash.
    """

    root: Path
    books: str

    @property
    def logs(self) -> Path:
        """Return the directory of the logs of all parts."""
        return self.root / "logs"

    @property
    def credentials(self) -> Path:
        """Return the directory of the secrets, mode 700."""
        return self.root / "credentials"

    @property
    def tls(self) -> Path:
        """Return the directory of the gateway's certificates."""
        return self.credentials / "tls"

    @property
    def admin_password(self) -> Path:
        """Return the file of the first administrator's password; it goes when that is changed.

        Each set of books has users of its own.
        """
        other = "" if self.books in ("", DEFAULT_BOOKS) else f"_{self.books}"
        return self.credentials / f"admin_password{other}"

    @property
    def run(self) -> Path:
        """Return the directory of what only matters while the system runs."""
        return self.root / "run"

    @property
    def strategies(self) -> Path:
        """Return the directory of the user's own strategy files; it need not exist."""
        return self.root / "strategies"

    @property
    def lock_file(self) -> Path:
        """Return the file whose lock says that a supervisor runs here."""
        return self.run / "supervisor.lock"

    @property
    def state_file(self) -> Path:
        """Return the file in which the supervisor says what it runs and where."""
        return self.run / "state.json"

    @property
    def data(self) -> Path:
        """Return the directory of the durable state of these books."""
        return self.root / "books" / self.books

    @property
    def anchors(self) -> Path:
        """Return the directory of the anchors of these books' audit log."""
        return self.data / "anchors"

    def prepare(self, free_mb_min: int) -> None:
        """Make the directories; raises EmbeddedError where one cannot write or the disk is full."""
        for directory in (self.root, self.logs, self.run, self.data):
            self._make(directory, 0o755)
        self._make(self.credentials, 0o700)
        self._make(self.tls, 0o700)
        for directory in (self.logs, self.run, self.credentials, self.data):
            self._probe(directory)
        free_mb = self.free_mb()
        if free_mb < free_mb_min:
            raise EmbeddedError(
                f"the disk of {self.root} has {free_mb} MiB free; {free_mb_min} MiB are needed",
                "free some space, or put the state elsewhere with TRADEWIND_HOME=/path",
            )

    def free_mb(self) -> int:
        """Return the free space of the disk that holds the home, in MiB."""
        return shutil.disk_usage(self.root).free // MEBIBYTE

    @staticmethod
    def _make(directory: Path, mode: int) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(
                f"cannot make the directory {directory}: {error.strerror or error}",
                "make its parent writable for you, or set TRADEWIND_HOME=/path",
            ) from error
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(mode)

    @staticmethod
    def _probe(directory: Path) -> None:
        try:
            with tempfile.TemporaryFile(dir=directory) as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
        except OSError as error:
            raise EmbeddedError(
                f"cannot write in {directory}: {error.strerror or error}",
                "make it writable for the user who runs this, free some disk space, "
                "or set TRADEWIND_HOME=/path",
            ) from error


def write_private(path: Path, text: str) -> None:
    """Write `text` so that only the owner can ever read it (mode 600), at once or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, object]:
    """Return the JSON object in `path`, empty where there is no such file."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except json.JSONDecodeError as error:
        raise EmbeddedError(
            f"{path} is not readable as JSON: {error}", f"look at it, then delete {path}"
        ) from error
    if not isinstance(value, dict):
        raise EmbeddedError(f"{path} holds no JSON object", f"look at it, then delete {path}")
    return value
