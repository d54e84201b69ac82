"""A folder of this user's for what can be made again: the same in every process, nobody else's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def own_room() -> Path:
    """Return the folder, made if it is not there. Raises OSError, also if another user owns it."""
    room = Path(tempfile.gettempdir()) / f"tradewind-strategies-{os.getuid()}"
    room.mkdir(mode=0o700, exist_ok=True)
    if room.is_symlink() or room.stat().st_uid != os.getuid():
        raise PermissionError(f"{room} belongs to another user")
    return room
