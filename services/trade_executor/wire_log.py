"""What went to the broker and what came back, word for word, for the dossier of its order.

It is evidence, not the books: messages wait in a bounded buffer and are written in batches beside
the trading path, which never waits for them. What a killed process had not written, or what the
buffer could not take, is missing here and nowhere else; the latter is counted.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol
from urllib.parse import parse_qs
from uuid import UUID

import msgspec

from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import order_id_from_client
from libs.common.runtime.logging import get_logger
from services.trade_executor.metrics import WIRE_MESSAGES_SHED

_log = get_logger(__name__)

TEXT_MAX: Final = 16 * 1024
"""Characters kept of a body; an order's takes about one thousand."""

_BATCH: Final = 200
_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One request with its answer, or one message of the stream.

    `at_ns` is wall time, of a request when it was sent; `took_us` until its answer was read.
    `method` and `path` are None for the stream. `error` says why there is no answer.
    """

    at_ns: int
    method: str | None = None
    path: str | None = None
    status: int | None = None
    sent: bytes | None = None
    received: bytes | None = None
    error: str | None = None
    took_us: int | None = None


@dataclass(frozen=True, slots=True)
class WireRow:
    """A message as stored, with the order it speaks of where it names one."""

    ts: dt.datetime
    method: str | None
    path: str | None
    status: int | None
    order_id: UUID | None
    broker_order_id: str | None
    sent: str | None
    received: str | None
    error: str | None
    took_us: int | None


class WireStore(Protocol):
    """Where messages are kept."""

    async def keep(self, rows: Sequence[WireRow]) -> None:
        """Write rows. Raises UnavailableError."""
        ...


class _Named(msgspec.Struct):
    """The two names of an order, wherever they stand in a body."""

    id: str | None = None
    client_order_id: str | None = None


class _Update(msgspec.Struct):
    order: _Named | None = None


class _Body(_Named):
    data: _Update | None = None


_BODIES: Final = msgspec.json.Decoder(_Body)


class WireLog:
    """Takes messages from any thread, writes them from one task."""

    def __init__(self, store: WireStore, *, messages_max: int) -> None:
        self._store = store
        self._waiting: deque[WireMessage] = deque()
        self._messages_max = messages_max

    def note(self, message: WireMessage) -> None:
        """Take one message; never waits. The newest is given up where there is no room."""
        if len(self._waiting) >= self._messages_max:
            WIRE_MESSAGES_SHED.inc()
            return
        self._waiting.append(message)

    @property
    def waiting(self) -> int:
        """Messages not yet written."""
        return len(self._waiting)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            try:
                await self.flush()
            except UnavailableError as error:
                _log.warning("wire_log_waits", messages=len(self._waiting), error=str(error))

    async def flush(self) -> None:
        """Write what waits. Raises UnavailableError; what was not written waits on."""
        while self._waiting:
            batch = list(islice(self._waiting, _BATCH))
            await self._store.keep([row_of(message) for message in batch])
            for _ in batch:
                self._waiting.popleft()


def row_of(message: WireMessage) -> WireRow:
    """Return a message as it is stored: bodies as text, cut at `TEXT_MAX`, its order named.

    A request names the order by our id or, in its path, by the broker's; an answer and a stream
    message by both. What cannot be read names none.
    """
    sent, received = _names(message.sent), _names(message.received)
    client_id = sent.client_order_id or received.client_order_id or _client_id_in(message.path)
    named = order_id_from_client(client_id) if client_id else None
    return WireRow(
        ts=from_ns(message.at_ns),
        method=message.method,
        path=message.path,
        status=message.status,
        order_id=named[0] if named else None,
        broker_order_id=received.id or _id_in(message.path),
        sent=_text(message.sent),
        received=_text(message.received),
        error=message.error,
        took_us=message.took_us,
    )


def _names(body: bytes | None) -> _Named:
    if not body or len(body) > TEXT_MAX:
        return _Named()
    try:
        read = _BODIES.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Named()
    return (read.data and read.data.order) or read


def _id_in(path: str | None) -> str | None:
    """Return the broker's order id in a path such as /v2/orders/904837e3-….?nested=true."""
    bare = (path or "").partition("?")[0]
    _, found, identity = bare.rpartition("/orders/")
    return identity if found and identity else None


def _client_id_in(path: str | None) -> str | None:
    """Return our id of the order that a look-up's query asks for."""
    asked = parse_qs((path or "").partition("?")[2]).get("client_order_id")
    return asked[-1] if asked else None


def _text(body: bytes | None) -> str | None:
    if body is None:
        return None
    # PostgreSQL's text holds every character but this one.
    return body[: TEXT_MAX * 4].decode("utf-8", "replace").replace("\x00", "\\0")[:TEXT_MAX]
