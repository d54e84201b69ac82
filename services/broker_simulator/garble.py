"""Answers and frames that nobody can read: the forms of `garbled_answer` and `garbled_frame`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import assert_never

_CHUNK = 65_536
_HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_DEPTH = 100_000


class Form(StrEnum):
    """What is wrong with it."""

    TRUNCATED = "truncated"  # the first half, then markup
    HTML = "html"  # a proxy's page
    EMPTY = "empty"
    LIST = "list"
    OBJECT = "object"  # one without a known field
    NUMBER = "number"
    STRING = "string"
    NULL = "null"
    DEEP = "deep"  # brackets, a hundred thousand deep
    RUBBISH = "rubbish"  # bytes that are no text
    HUGE = "huge"  # as it was, after `size` bytes of blanks: valid JSON, and too long
    SHORT = "short"  # less than its length promises, then the connection ends
    TRICKLE = "trickle"  # a byte every `seconds`, without end


def garbled(form: Form, payload: bytes) -> bytes:
    """Return `payload` in `form`; forms that are a matter of sending leave it as it is."""
    match form:
        case Form.TRUNCATED:
            return payload[: len(payload) // 2] + b"<html>"
        case Form.HTML:
            return _HTML
        case Form.EMPTY:
            return b""
        case Form.LIST:
            return b"[" + payload + b"]" if payload[:1] == b"{" else b'["a", 1, null, []]'
        case Form.OBJECT:
            return b'{"surprise": true}'
        case Form.NUMBER:
            return b"42"
        case Form.STRING:
            return b'"OK"'
        case Form.NULL:
            return b"null"
        case Form.DEEP:
            return b"[" * _DEPTH + b"]" * _DEPTH
        case Form.RUBBISH:
            return bytes(range(256)) * 4
        case Form.HUGE | Form.SHORT | Form.TRICKLE:
            return payload
    assert_never(form)


def padded(payload: bytes, size: int) -> bytes:
    """Return the JSON `payload`, as valid as before, with blanks before it to make `size` bytes."""
    return b" " * max(size - len(payload), 0) + payload


def blanks(size: int) -> Iterator[bytes]:
    """Yield `size` blanks in pieces."""
    for start in range(0, size, _CHUNK):
        yield b" " * min(_CHUNK, size - start)
