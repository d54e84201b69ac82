"""The anchors in a folder: one line each, only ever appended, and the hashes that they speak of.

`anchors.jsonl` holds the signed lines; `rows/2026-11-20.bin` the hashes of the rows of a day, 32
bytes each, in order. The latter prove nothing by themselves, a day's anchor covers them; they tell
which row is not what it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from libs.common.kernel.errors import UnavailableError
from services.audit.anchors import NOTHING_BEFORE, Anchor, digest_of, line_of, read_anchors

HASH_BYTES: Final = 32
NAME: Final = "anchors.jsonl"


class AnchorFiles:
    """The anchors in `folder`, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME

    def lines(self) -> list[bytes]:
        """Return the lines, none where there is no file yet.

        A last line without its end was being written when the machine went down: it is left out.
        Raises UnavailableError where the file cannot be read.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError(f"{self.path}: {error.strerror}") from error
        return text.split(b"\n")[:-1]

    def read(self, keys: Sequence[str] = ()) -> list[Anchor]:
        """Return the anchors. Raises AnchorError for a line that does not fit."""
        return read_anchors(self.lines(), keys)

    def previous(self) -> str:
        """Return what the next line names as the one before it."""
        lines = self.lines()
        return digest_of(lines[-1]) if lines else NOTHING_BEFORE

    def append(self, anchor: Anchor) -> None:
        """Write one anchor and see it on disk. Raises UnavailableError."""
        with _writing(self.path, "r+b" if self.path.exists() else "xb") as file:
            text = self.path.read_bytes()
            file.truncate(text.rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            file.write(line_of(anchor) + b"\n")

    def hashes(self, day: str) -> bytes:
        """Return the hashes of a day's anchored rows, empty where they are not kept."""
        try:
            return self._rows(day).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise UnavailableError(f"{self._rows(day)}: {error.strerror}") from error

    def keep_hashes(self, day: str, anchored: int, more: bytes) -> None:
        """Put `more` after the hashes of the day's `anchored` rows; what no anchor speaks of yet
        may be written anew."""
        path = self._rows(day)
        with _writing(path, "r+b" if path.exists() else "xb") as file:
            file.truncate(anchored * HASH_BYTES)
            file.seek(0, os.SEEK_END)
            file.write(more)

    def forget_hashes(self, day: str) -> None:
        """Drop the hashes of a day whose rows were dropped."""
        self._rows(day).unlink(missing_ok=True)

    def _rows(self, day: str) -> Path:
        return self.folder / "rows" / f"{day}.bin"


@contextmanager
def _writing(path: Path, mode: str) -> Iterator[IO[bytes]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}") from error
