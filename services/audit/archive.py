"""What an export of the record proves, and how that is seen without a database."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from libs.common.kernel.errors import TradewindError
from services.audit.anchors import Anchor, AnchorError, line_of, read_line
from services.audit.logic import Claim, digest
from services.audit.merkle import root_of

_DOMAIN: Final = b"tradewind audit export 1\n"
_HASH_BYTES: Final = 32


class ExportError(TradewindError):
    """An export that is not what was written; the message says where it differs."""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds: its rows, the hash that the first one follows, the last one's hash,
    the Merkle root over all of them, and the anchors that speak of them."""

    first_seq: int
    last_seq: int
    before: str
    head: str
    root: str
    made_at: str
    key: str
    anchors: tuple[Anchor, ...]

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return self.last_seq - self.first_seq + 1


class Manifest(Content, frozen=True, kw_only=True):
    """The same, signed; the signature in hex."""

    signature: str


_decoder: Final = msgspec.json.Decoder(Manifest)


def signed_bytes(content: Content) -> bytes:
    """Return what the signature of a manifest is over."""
    plain = {name: getattr(content, name) for name in Content.__struct_fields__}
    return _DOMAIN + msgspec.json.encode(plain)


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as it stands in the file."""
    return msgspec.json.encode(manifest)


def digest_of(manifest: Manifest) -> str:
    """Return the SHA-256 that a checkpoint names a manifest by."""
    return hashlib.sha256(encode(manifest)).hexdigest()


def read_manifest(data: bytes, keys: Sequence[str]) -> Manifest:
    """Return a manifest whose signature, and those of its anchors, fit.

    With `keys` (hex) one of them must have signed. Raises ExportError.
    """
    try:
        manifest = _decoder.decode(data)
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(manifest.key))
        public.verify(bytes.fromhex(manifest.signature), signed_bytes(manifest))
        for anchor in manifest.anchors:
            read_line(line_of(anchor))
    except InvalidSignature as error:
        raise ExportError("the manifest's signature does not fit") from error
    except (msgspec.MsgspecError, ValueError, AnchorError) as error:
        raise ExportError(f"the manifest cannot be read: {error}") from error
    signers = {manifest.key, *(anchor.key for anchor in manifest.anchors)}
    if keys and not signers <= set(keys):
        raise ExportError(f"signed with an unknown key: {', '.join(signers - set(keys))}")
    return manifest


class Reading:
    """Takes the rows of an export, in any order, and says whether they are those of a manifest."""

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._hashes = bytearray()
        self._before = bytearray()

    def take(self, claims: Iterable[Claim]) -> None:
        """Take rows. Raises ExportError for one whose hash is not over its content."""
        for form, claimed in claims:
            found = digest(form)
            if found != claimed:
                raise ExportError(f"row {form.seq} was changed: its hash does not fit")
            self._seqs.append(form.seq)
            self._hashes += bytes.fromhex(found)
            self._before += bytes.fromhex(form.prev_hash)

    def hashes(self) -> list[bytes]:
        """Return the rows' hashes by place in the chain. Raises ExportError for a broken chain."""
        order = np.argsort(np.asarray(self._seqs, dtype=np.int64), kind="stable").tolist()
        found: list[bytes] = []
        for place, at in enumerate(order):
            seq = self._seqs[at]
            if seq != self._seqs[order[0]] + place:
                raise ExportError(f"row {self._seqs[order[0]] + place} is missing, or there twice")
            before = bytes(self._before[at * _HASH_BYTES : (at + 1) * _HASH_BYTES])
            if place and before != found[-1]:
                raise ExportError(f"row {seq} does not follow row {seq - 1}")
            found.append(bytes(self._hashes[at * _HASH_BYTES : (at + 1) * _HASH_BYTES]))
        return found

    def first(self) -> tuple[int, str]:
        """Return the first row's place and the hash that it follows."""
        at = self._seqs.index(min(self._seqs))
        before = self._before[at * _HASH_BYTES : (at + 1) * _HASH_BYTES]
        return self._seqs[at], bytes(before).hex()

    def check(self, manifest: Manifest) -> int:
        """Return how many anchors hold. Raises ExportError where rows and manifest differ."""
        if not self._seqs:
            raise ExportError("it holds no row")
        hashes = self.hashes()
        first, before = self.first()
        told = (manifest.first_seq, manifest.rows, manifest.before, manifest.head, manifest.root)
        if told != (first, len(hashes), before, hashes[-1].hex(), root_of(hashes).hex()):
            raise ExportError("its rows are not those that were signed")
        for anchor in manifest.anchors:
            at = anchor.first_seq - first
            part = hashes[max(at, 0) : anchor.last_seq - first + 1]
            if at < 0 or len(part) != anchor.rows or root_of(part).hex() != anchor.root:
                raise ExportError(f"the rows of {anchor.day} are not those that were anchored")
        return len(manifest.anchors)


def within(anchors: Sequence[Anchor], first_seq: int, last_seq: int) -> tuple[Anchor, ...]:
    """Return the final anchors of the days that lie wholly within these rows."""
    return tuple(
        one
        for one in anchors
        if one.kind == "day" and one.first_seq >= first_seq and one.last_seq <= last_seq
    )
