"""What a command cannot do, with the exit code that says so to a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Make an operational failure of the block one of the command; what is one already passes."""
    try:
        yield
    except CommandError:
        raise  # it has its own exit code
    except TradewindError as error:
        raise CommandError(str(error)) from error
