"""Where the servers of tests keep their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

IN_MEMORY: Final = Path("/dev/shm")
FREE_BYTES_MIN: Final = 6 << 30
"""The servers of two test processes and a whole system take about a third of this."""


def folder_in_memory() -> Path | None:
    """Return a file system in memory with room for databases and programs; None has no such.

    Some 500 tests copy a migrated database, which is hundreds of small files: on a disk each copy
    takes a tenth of a second of computing and waits for the disk besides, in memory a tenth of it.
    """
    try:
        facts = os.statvfs(IN_MEMORY)
    except OSError:
        return None
    roomy = facts.f_bavail * facts.f_frsize >= FREE_BYTES_MIN
    # The programs of PostgreSQL may be copied there for its account.
    runs = not facts.f_flag & os.ST_NOEXEC
    return IN_MEMORY if roomy and runs and os.access(IN_MEMORY, os.W_OK) else None
