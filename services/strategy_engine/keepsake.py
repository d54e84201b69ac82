"""Copies of the strategy files that run, so that a process can be started again with the very code
that was loaded, whatever has become of the file meanwhile."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from libs.common.runtime.logging import get_logger
from libs.common.runtime.own_room import own_room
from libs.common.strategy.loader import Loaded

_log = get_logger(__name__)


def keep(loaded: Loaded) -> Path:
    """Return a copy of the file as it was loaded, made now.

    The file itself is returned where no copy can be made of that version: whoever loads it finds
    out whether it is another by then. The copy's place is the same in every process of this user,
    so that compiled code is found again.
    """
    try:
        return _copied(loaded)
    except OSError as error:
        _log.warning("strategy_file_not_kept", file=str(loaded.path), reason=str(error))
        return loaded.path


def _copied(loaded: Loaded) -> Path:
    name = hashlib.sha256(f"{loaded.path}:{loaded.version_hash}".encode()).hexdigest()[:24]
    folder = own_room() / name
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
