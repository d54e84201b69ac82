"""One system for the modules that ask of it only that it trades."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.system import System, running_system


@pytest.fixture(scope="session")
def trading_system(server_directory: Path) -> Iterator[System]:
    """A running system; the last module that uses it stops it, the session does otherwise."""
    with running_system(server_directory / "trading") as system:
        yield system
