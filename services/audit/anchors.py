"""Anchors: signed statements about the chain that are kept outside the database.

An anchor is one line of JSON. It says which rows a day has so far (or finally), the Merkle root
over their hashes and the hash of the last one; it names the SHA-256 of the line before it and is
signed with the audit log's own Ed25519 key. So whoever holds one late line, or the public key and
the file, can tell whether rows before it were changed, added or taken away, though somebody with
every right in the database computed the whole chain anew.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Literal, Self

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common.kernel.errors import InvalidInputError, TradewindError

NOTHING_BEFORE: Final = "0" * 64
_DOMAIN: Final = b"tradewind audit anchor 1\n"
_SEED_BYTES: Final = 32
_CHARS_MAX: Final = 4096

Kind = Literal["so far", "day", "pruned"]


class AnchorError(TradewindError):
    """A line of the anchors that cannot be what the audit service wrote."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is signed.

    `day` is the UTC day of `recorded_at`; rows `first_seq` to `last_seq` are its rows, so far or
    (kind `day`) finally; `root` is the Merkle root over their hashes, `head` the last row's hash.
    Kind `pruned`: rows up to `last_seq`, whose hash is `head`, were dropped after their export,
    the SHA-256 of whose manifest is `root`.
    """

    kind: Kind
    day: str
    first_seq: int
    last_seq: int
    root: str
    head: str
    made_at: str
    previous: str
    key: str


class Anchor(Statement, frozen=True, kw_only=True):
    """A statement with its signature, in hex."""

    signature: str

    @property
    def rows(self) -> int:
        """How many rows it speaks of."""
        return self.last_seq - self.first_seq + 1


class AnchorKey:
    """The key that anchors are signed with."""

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the key of a seed, 32 bytes in URL-safe base64. Raises InvalidInputError, which
        does not show it."""
        try:
            seed = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            seed = b""
        if len(seed) != _SEED_BYTES:
            raise InvalidInputError(
                "TRADEWIND_AUDIT_KEY: must be 32 bytes in URL-safe base64 (44 characters); "
                "`tradewind secret new-key` makes one"
            )
        return cls(seed)

    def __repr__(self) -> str:
        """Return the public half."""
        return f"AnchorKey({self.public})"

    def sign(self, statement: Statement) -> Anchor:
        """Return `statement` signed."""
        signature = self.sign_bytes(signed_bytes(statement))
        return Anchor(**msgspec.structs.asdict(statement), signature=signature)

    def sign_bytes(self, data: bytes) -> str:
        """Return the signature, in hex, over `data`, which begins with what it is for."""
        return self._private.sign(data).hex()


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Anchor)


def signed_bytes(statement: Statement) -> bytes:
    """Return what the signature is over: a purpose, then the statement's JSON without signature."""
    plain = {name: getattr(statement, name) for name in Statement.__struct_fields__}
    return _DOMAIN + _encoder.encode(plain)


def line_of(anchor: Anchor) -> bytes:
    """Return the anchor as its line, without the newline."""
    return _encoder.encode(anchor)


def digest_of(line: bytes) -> str:
    """Return how the next line names this one."""
    return hashlib.sha256(line).hexdigest()


def read_line(line: bytes) -> Anchor:
    """Return the anchor of one line. Raises AnchorError for what is none or is wrongly signed."""
    if len(line) > _CHARS_MAX:
        raise AnchorError("is too long for an anchor")
    try:
        anchor = _decoder.decode(line)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(anchor.key))
        key.verify(bytes.fromhex(anchor.signature), signed_bytes(anchor))
    except (msgspec.MsgspecError, ValueError) as error:
        raise AnchorError(f"is no anchor: {error}") from error
    except InvalidSignature as error:
        raise AnchorError("carries a signature that does not fit") from error
    return anchor


def read_anchors(lines: Iterable[bytes], keys: Sequence[str] = ()) -> list[Anchor]:
    """Return the anchors of a file's lines, each checked against the one before it.

    With `keys` (public keys in hex) only those may have signed. Raises AnchorError naming the
    first line that does not fit.
    """
    anchors: list[Anchor] = []
    previous = NOTHING_BEFORE
    for number, line in enumerate(lines, start=1):
        try:
            anchor = read_line(line)
            if anchor.previous != previous:
                raise AnchorError("does not follow the line before it")
            if keys and anchor.key not in keys:
                raise AnchorError(f"is signed with an unknown key, {anchor.key}")
            _follow(anchors, anchor)
        except AnchorError as error:
            raise AnchorError(f"line {number} of the anchors {error}") from error
        anchors.append(anchor)
        previous = digest_of(line)
    return anchors


def _follow(anchors: Sequence[Anchor], anchor: Anchor) -> None:
    """Raise AnchorError unless `anchor` can come after `anchors`."""
    if anchor.kind == "pruned":
        return
    last = last_of(anchors)
    if last is None:
        fits = anchor.first_seq >= 1
    elif last.kind == "so far" and last.day == anchor.day:
        fits = anchor.first_seq == last.first_seq and anchor.last_seq >= last.last_seq
    else:
        fits = anchor.first_seq == last.last_seq + 1 and anchor.day > last.day
    if not fits or anchor.last_seq < anchor.first_seq:
        raise AnchorError("speaks of rows that do not continue those before")


def last_of(anchors: Sequence[Anchor]) -> Anchor | None:
    """Return the newest anchor about a day, None if there is none."""
    return next((one for one in reversed(anchors) if one.kind != "pruned"), None)
