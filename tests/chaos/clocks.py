"""Wall clocks of services that jump, where a C compiler is at hand."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("clock_shim.c")
NS = 10**9


@dataclass(frozen=True)
class Clocks:
    """The folder of offsets, and the library that reads them."""

    folder: Path
    library: Path

    @property
    def environment(self) -> dict[str, str]:
        """Return what a service must be started with."""
        return {"LD_PRELOAD": str(self.library), "TRADEWIND_CHAOS_CLOCKS": str(self.folder)}

    def move(self, port: int, seconds: float) -> None:
        """Let the service on `port` live `seconds` ahead of the machine; 0 takes it back.

        One that is started later finds the file; it is never cut, for it is mapped into memory.
        """
        file = os.open(self.folder / str(port), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, struct.pack("=q", round(seconds * NS)), 0)
        finally:
            os.close(file)


def make_clocks(home: Path) -> Clocks | None:
    """Return movable clocks, None where there is no C compiler to build them with."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    folder = home / "clocks"
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "clock_shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"],
        check=True,
        capture_output=True,
    )
    return Clocks(folder, library)
