"""What a failed request to Alpaca proves: refused, never taken, or unknown."""

from __future__ import annotations

import json

import requests

from services.trade_executor.adapters.alpaca_fields import Fields
from services.trade_executor.ports import BrokerRefusedError, NotSentError, OutcomeUnknownError

_PAUSE_S_429 = 1.0
_PAUSE_S_MAX = 60.0


class UnreadableAnswerError(OutcomeUnknownError):
    """An answer came, and nobody can tell what it says."""


class TurnedAwayError(NotSentError):
    """The broker takes no calls for `pause_s` seconds: too many of them, or keys it does not know.
    The request changed nothing."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def verdict(status: int, body: str, retry_after: str) -> Exception:
    """Return what an error status proves. A refusal must say so in the broker's own words: a page
    of something between us and the broker, with whatever status, proves nothing.

    `retry_after` is that header, empty where there is none.
    """
    code, message = _words_of(body)
    if status in {requests.codes.too_many_requests, requests.codes.unauthorized}:
        pause_s = float(retry_after) if retry_after.isdigit() else _PAUSE_S_429
        return TurnedAwayError(f"{status} {message or ''}".strip(), min(_PAUSE_S_MAX, pause_s))
    if message is None:
        return UnreadableAnswerError(f"status {status} without a readable message")
    if code == 40010001 and "unique" in message:
        # An earlier request with this id arrived after all: look it up.
        return OutcomeUnknownError(message)
    if 400 <= status < 500 and status != requests.codes.request_timeout:
        return BrokerRefusedError(status, code, message)
    return OutcomeUnknownError(f"{status} {message}")


def unreadable(error: BaseException) -> UnreadableAnswerError:
    """Return the verdict on an answer that is no JSON."""
    shown = f"{type(error).__name__}: {ascii(str(error))[:200]}"
    return UnreadableAnswerError(f"no readable answer: {shown}")


def _words_of(text: str) -> tuple[int | None, str | None]:
    """Return Alpaca's code and message of an error body; no message where it has none."""
    try:
        fields = Fields(json.loads(text), "error")
        code = fields.raw("code")
    except (ValueError, RecursionError):
        return None, None
    return code if type(code) is int else None, fields.reason("message")
