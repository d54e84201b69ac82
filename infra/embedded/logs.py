"""Log files of the children: appended by the children themselves, cut by us when too long."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TAIL_BYTES = 16_384


class LogFiles:
    """The log files in one directory, each kept below `bytes_max`, with `keep` older parts.

    A child holds its file open and writes to it directly, not through a pipe of ours: a pipe
    would fill up, and stop the child, whenever this process is stopped (a debugger, Ctrl-S on
    the terminal). The price is that a cut is copy-and-truncate, which can lose the lines of the
    instant between the two.
    """

    def __init__(self, directory: Path, *, bytes_max: int, keep: int) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._keep = keep

    def path(self, name: str) -> Path:
        """Return the file of the child called `name`."""
        return self._directory / f"{name}.log"

    def open(self, name: str) -> int:
        """Return a descriptor that appends to the file of `name`; the caller closes it."""
        return os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def tail(self, name: str, lines: int, since: int = 0) -> str:
        """Return the last `lines` lines of `name` after byte `since`, empty where it is silent."""
        try:
            with self.path(name).open("rb") as file:
                file.seek(0, os.SEEK_END)
                # What has been cut since then begins anew.
                first = since if since <= file.tell() else 0
                file.seek(max(first, file.tell() - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def rotate(self) -> list[str]:
        """Cut every file that has grown too long; return the names of those cut."""
        cut = []
        for path in sorted(self._directory.glob("*.log")):
            if path.stat().st_size > self._bytes_max:
                self._cut(path)
                cut.append(path.stem)
        return cut

    def _cut(self, path: Path) -> None:
        for age in range(self._keep - 1, 0, -1):
            older = path.with_name(f"{path.name}.{age}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{age + 1}"))
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
