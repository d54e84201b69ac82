"""The envelope around every message, and the two functions that cross the wire."""

from __future__ import annotations

import uuid
from typing import Any, Final, Generic, TypeVar

import msgspec

from libs.common.contracts.messages import Payload
from libs.common.kernel.clock import format_ns
from libs.common.kernel.errors import ContractError

P = TypeVar("P", bound=Payload)


class Envelope(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """A message: who said it, when (RFC 3339 UTC with nanoseconds), why, and what.

    `correlation_id` names the tick, request or job that began the story, `causation_id` the
    message that led directly to this one.
    """

    id: uuid.UUID
    type: str
    version: int
    ts: str
    source: str
    correlation_id: uuid.UUID
    payload: P
    causation_id: uuid.UUID | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope with its payload left unread."""

    id: uuid.UUID
    type: str
    version: int
    ts: str
    source: str
    correlation_id: uuid.UUID
    payload: msgspec.Raw
    causation_id: uuid.UUID | None = None


_ENCODER: Final = msgspec.json.Encoder()
_HEADER: Final = msgspec.json.Decoder(Header)


def seal(
    payload: P,
    *,
    message_id: uuid.UUID,
    ts_ns: int,
    source: str,
    correlation_id: uuid.UUID,
    causation_id: uuid.UUID | None = None,
    version: int = 1,
) -> Envelope[P]:
    """Return `payload` in its envelope."""
    return Envelope(
        id=message_id,
        type=type(payload).__name__,
        version=version,
        ts=format_ns(ts_ns),
        source=source,
        correlation_id=correlation_id,
        causation_id=causation_id,
        payload=payload,
    )


def encode(envelope: Envelope[Any]) -> bytes:
    """Return the JSON of `envelope`."""
    return _ENCODER.encode(envelope)


def read_header(data: bytes | str) -> Header:
    """Read everything but the payload. Raises ContractError."""
    try:
        return _HEADER.decode(data)
    except msgspec.MsgspecError as error:
        raise ContractError(f"not an envelope: {error}") from error


class Reader(Generic[P]):
    """Reads envelopes of one payload type and version; the decoder is built once."""

    def __init__(self, payload_type: type[P], version: int = 1) -> None:
        self.payload_type = payload_type
        self.version = version
        self._decoder = msgspec.json.Decoder(Envelope[payload_type])  # type: ignore[valid-type]

    def read(self, data: bytes | str) -> Envelope[P]:
        """Decode `data`.

        Raises ContractError for malformed JSON, another type, an unknown major version or a
        payload that breaks its schema.
        """
        try:
            envelope: Envelope[P] = self._decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise ContractError(f"{self.payload_type.__name__}: {error}") from error
        if envelope.type != self.payload_type.__name__:
            raise ContractError(f"expected {self.payload_type.__name__}, got {envelope.type!r}")
        if envelope.version != self.version:
            raise ContractError(
                f"{envelope.type}: version {envelope.version} is unknown, this is {self.version}"
            )
        return envelope
