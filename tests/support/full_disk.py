"""A small disk of its own that a test fills and frees."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

BLOCKS = (1 << 20, 4096, 1)


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system; `fill` leaves not one byte, `free` takes that back."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Take what is free, to the last byte; call again to take what became free since."""
        ballast = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in BLOCKS:
                while _written(ballast, size):
                    pass
        finally:
            os.close(ballast)

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


def _written(file: int, size: int) -> bool:
    try:
        return os.write(file, b"\0" * size) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Mount an empty memory disk at `path`; skips where mounting is not permitted."""
    with mounted_disk(path, mebibytes) as mounted:
        if isinstance(mounted, str):
            pytest.skip(f"a disk of a size cannot be mounted here: {mounted}")
        yield mounted


@contextmanager
def mounted_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk | str]:
    """Mount an empty memory disk at `path`; yields the reason where that is not permitted."""
    path.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        yield mounted.stderr.strip() or "mount failed"
        return
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
