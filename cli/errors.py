"""What a command cannot do, with the exit code that says so to a script."""

from __future__ import annotations

from enum import IntEnum

from libs.common.kernel.errors import TradewindError


class Exit(IntEnum):
    """Exit codes; 2 is the shell's own for wrong usage."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3


class CommandError(TradewindError):
    """The command failed; the message is for the person who typed it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
