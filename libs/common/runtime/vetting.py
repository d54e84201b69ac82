"""Strategy files loaded in a process of their own before ours loads them, each version once.

To import a file is to run it: one that loops for ever, eats memory or crashes takes that process
down, not the engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from libs.common.runtime.logging import get_logger
from libs.common.runtime.own_room import own_room
from libs.common.runtime.trial import LOAD_LIMITS, Limits, OverrunError, try_load
from libs.common.strategy.errors import StrategyFileError

_log = get_logger(__name__)
_NOTES: Final = "vetted"


class Vetting:
    """Call it with a file before that is loaded. Files of `trusted` folders are let pass.

    A version (its SHA-256) that has loaded once is noted for all processes of this user, one that
    did not come to an end for this process only: the machine may have been busy.
    """

    def __init__(self, trusted: Iterable[Path] = (), limits: Limits = LOAD_LIMITS) -> None:
        self._trusted = {path.resolve() for path in trusted}
        self._limits = limits
        self._good: set[str] = set()
        self._bad: dict[str, OverrunError] = {}

    def __call__(self, path: Path) -> None:
        """Let the file pass. Raises StrategyFileError for one that is not to be loaded here."""
        path = path.resolve()
        if path.parent in self._trusted:
            return
        try:
            version = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise StrategyFileError(path, 0, f"cannot be read: {error.strerror}") from error
        if known := self._bad.get(version):
            raise OverrunError(path, known.line, known.reason)
        if version in self._good or _noted(version):
            return
        try:
            try_load(path, self._limits)
        except OverrunError as error:
            self._bad[version] = error
            raise
        self._good.add(version)
        _note(version)


def _noted(version: str) -> bool:
    try:
        return (own_room() / _NOTES / version).exists()
    except OSError:
        return False


def _note(version: str) -> None:
    try:
        folder = own_room() / _NOTES
        folder.mkdir(exist_ok=True)
        (folder / version).touch()
    except OSError as error:  # it is tried again by the next process
        _log.warning("strategy_file_not_noted", version=version, reason=str(error))
