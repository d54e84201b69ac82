"""The note of the bar that is being stepped over, in a file that outlives its process."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PULSE: Final = "pulse"
PULSE_STILL_S: Final = 2.0
"""A step that takes longer does not come to its end."""
_SIZE: Final = 4096


class Pulse:
    """Notes bars into shared memory: what was noted last is there after any death."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def note(self, text: str) -> None:
        """Note what is done next."""
        data = text.encode()[: _SIZE - 1]
        self._memory[: len(data) + 1] = data + b"\0"


@contextmanager
def pulse_in(folder: Path) -> Iterator[Pulse]:
    """Open a blank pulse in `folder`."""
    with (folder / PULSE).open("w+b") as file:
        file.truncate(_SIZE)
        with mmap.mmap(file.fileno(), _SIZE) as memory:
            yield Pulse(memory)


def read_pulse(folder: Path) -> str:
    """Return what was noted last, empty if nothing was."""
    try:
        data = (folder / PULSE).read_bytes()
    except FileNotFoundError:
        return ""
    return data.partition(b"\0")[0].decode(errors="replace")
