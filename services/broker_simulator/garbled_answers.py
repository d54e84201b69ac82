"""Sending an answer that cannot be read, or that does not end, below any framework."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from starlette.types import Scope, Send

from services.broker_simulator.faults import Fault
from services.broker_simulator.garble import Form, blanks, garbled

TRANSPORT = "tradewind.transport"
_TRICKLE_S: Final = 0.05
_TRICKLE_S_MAX: Final = 600.0
_PROMISED: Final = 100  # bytes that a short answer announces and does not send


async def send_garbled(scope: Scope, send: Send, fault: Fault, status: int, payload: bytes) -> None:
    """Answer with `status` and the fault's form of `payload`."""
    match fault.form:
        case Form.HUGE:
            await _start(send, status)
            for piece in blanks(fault.size):
                if _gone(scope):
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": payload})
        case Form.SHORT:
            await _start(send, status, length=len(payload) + _PROMISED)
            await send({"type": "http.response.body", "body": payload, "more_body": True})
            _transport(scope).close()
        case Form.TRICKLE:
            await _trickle(scope, send, status, fault.seconds or _TRICKLE_S)
        case form:
            body = garbled(form, payload)
            await _start(send, status, length=len(body), html=form is Form.HTML)
            await send({"type": "http.response.body", "body": body})


def abort(scope: Scope) -> None:
    """Drop the connection of `scope` without another byte."""
    _transport(scope).abort()


async def _trickle(scope: Scope, send: Send, status: int, pause_s: float) -> None:
    """Send a blank now and then, until the client has enough or ten minutes are over."""
    await _start(send, status)
    for _ in range(int(_TRICKLE_S_MAX / pause_s)):
        if _gone(scope):
            return
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(pause_s)
    abort(scope)


async def _start(send: Send, status: int, *, length: int | None = None, html: bool = False) -> None:
    kind = b"text/html" if html else b"application/json; charset=UTF-8"
    headers = [(b"content-type", kind)]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _gone(scope: Scope) -> bool:
    gone: bool = _transport(scope).is_closing()
    return gone


def _transport(scope: Scope) -> Any:
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise RuntimeError("this server does not let a connection be dropped")
    return transport
