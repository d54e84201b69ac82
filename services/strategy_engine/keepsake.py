"""Copies of the strategy files that run, so that a process can be started again with the very code
that was loaded, whatever has become of the file meanwhile."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from libs.common.kernel.errors import UnavailableError
from libs.common.strategy.loader import Loaded


def keep(loaded: Loaded) -> Path:
    """Return a copy of the file as it was loaded, made now; the file itself if it is another by
    now, which whoever loads it will find out.

    The place is the same in every process of this user, so that compiled code is found again.
    Raises UnavailableError where the place belongs to somebody else.
    """
    room = Path(tempfile.gettempdir()) / f"tradewind-strategies-{os.getuid()}"
    folder = room / hashlib.sha256(f"{loaded.path}:{loaded.version_hash}".encode()).hexdigest()[:24]
    room.mkdir(mode=0o700, exist_ok=True)
    if room.stat().st_uid != os.getuid():
        raise UnavailableError(f"{room} belongs to another user; remove it, or set TMPDIR")
    folder.mkdir(mode=0o700, exist_ok=True)
    copy = folder / loaded.path.name
    if copy.exists() and _version(copy.read_bytes()) == loaded.version_hash:
        return copy
    source = loaded.path.read_bytes()
    if _version(source) != loaded.version_hash:
        return loaded.path
    part = copy.with_suffix(f".{os.getpid()}")
    part.write_bytes(source)
    part.replace(copy)
    return copy


def _version(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()
