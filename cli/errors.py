"""What a command cannot do, with the exit code that says so to a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from libs.common.kernel.errors import TradewindError

if TYPE_CHECKING:
    import httpx


class Exit(IntEnum):
    """Exit codes; 2 is the shell's own for wrong usage."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NOT_LOGGED_IN = 4


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


def problem_text(status: int, body: Any) -> str:
    """Return what a problem+json body says: its detail, every wrong field, its ids."""
    if not isinstance(body, dict):
        return f"refused with status {status}"
    errors = body.get("errors")
    fields = [
        f"{item.get('field', '?')}: {item.get('message', '?')}"
        for item in (errors if isinstance(errors, list) else [])
        if isinstance(item, dict)
    ]
    text = "\n".join(fields) or str(body.get("detail") or f"refused with status {status}")
    if correlation_id := body.get("correlation_id"):
        text += f"\n(correlation id {correlation_id})"
    return text


def code_of(response: httpx.Response) -> str:
    """Return the code of a problem, empty where there is none."""
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("code") or "") if isinstance(body, dict) and response.is_error else ""
