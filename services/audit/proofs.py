"""Proofs that anyone can check who has the public key: no database, no anchors, no service.

A proof of a row holds the row as it was hashed, the audit path to the Merkle root of its day and
the signed anchor with that root. A proof of growth holds two anchors of one day and the path that
shows the earlier one's rows to be the beginning of the later one's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from libs.common.kernel.errors import NotFoundError, TradewindError
from services.audit.anchors import Anchor, AnchorError, line_of, read_line
from services.audit.logic import Canonical, canonical_bytes
from services.audit.merkle import consistency_path, inclusion_path, is_consistent, root_by_path

HASH_BYTES: Final = 32


class ProofError(TradewindError):
    """A proof that does not prove anything; the message says what is wrong with it."""


class RowProof(msgspec.Struct, frozen=True, kw_only=True, tag_field="proof", tag="row"):
    """Row `row` (its canonical JSON) is leaf `index` of the tree whose root the anchor signs."""

    row: msgspec.Raw
    index: int
    path: tuple[str, ...]
    anchor: Anchor


class GrowthProof(msgspec.Struct, frozen=True, kw_only=True, tag_field="proof", tag="growth"):
    """The rows of `old` are the first rows of `new`."""

    path: tuple[str, ...]
    old: Anchor
    new: Anchor


class _Place(msgspec.Struct, frozen=True):
    seq: int


_decoder: Final = msgspec.json.Decoder(RowProof | GrowthProof)
_place: Final = msgspec.json.Decoder(_Place)


def prove_row(form: Canonical, anchors: Sequence[Anchor], hashes: bytes) -> RowProof:
    """Return the proof for a row; `hashes` are those of its day's anchored rows.

    Raises NotFoundError for a row that no anchor covers, ProofError where the hashes are not those
    of the anchor.
    """
    anchor = covering(anchors, form.seq)
    leaves = _leaves(hashes[: anchor.rows * HASH_BYTES])
    if len(leaves) != anchor.rows:
        raise ProofError(f"the hashes of {anchor.day} are not kept here")
    index = form.seq - anchor.first_seq
    proof = RowProof(
        row=msgspec.Raw(canonical_bytes(form)),
        index=index,
        path=tuple(part.hex() for part in inclusion_path(leaves, index)),
        anchor=anchor,
    )
    check(encode(proof), ())
    return proof


def covering(anchors: Sequence[Anchor], seq: int) -> Anchor:
    """Return the newest anchor that covers row `seq`. Raises NotFoundError."""
    for anchor in reversed(anchors):
        if anchor.kind != "pruned" and anchor.first_seq <= seq <= anchor.last_seq:
            return anchor
    raise NotFoundError(f"no anchor covers row {seq} (yet): `tradewind audit anchor` makes one")


def prove_growth(old: Anchor, new: Anchor, hashes: bytes) -> GrowthProof:
    """Return the proof that a day's later anchor continues an earlier one. Raises ProofError."""
    if old.day != new.day or old.first_seq != new.first_seq or old.last_seq > new.last_seq:
        raise ProofError("only two anchors of one day, the older first, can be compared")
    leaves = _leaves(hashes[: new.rows * HASH_BYTES])
    if len(leaves) != new.rows:
        raise ProofError(f"the hashes of {new.day} are not kept here")
    proof = GrowthProof(
        path=tuple(part.hex() for part in consistency_path(leaves, old.rows)), old=old, new=new
    )
    check(encode(proof), ())
    return proof


def encode(proof: RowProof | GrowthProof) -> bytes:
    """Return the proof as a file."""
    return msgspec.json.encode(proof)


def check(data: bytes, keys: Sequence[str]) -> str:
    """Return in words what `data` proves. With `keys` (hex) one of them must have signed.

    Raises ProofError.
    """
    try:
        proof = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ProofError(f"this is no proof: {error}") from error
    anchors = (proof.anchor,) if isinstance(proof, RowProof) else (proof.old, proof.new)
    for anchor in anchors:
        _signed(anchor, keys)
    try:
        path = [bytes.fromhex(part) for part in proof.path]
        roots = [bytes.fromhex(anchor.root) for anchor in anchors]
    except ValueError as error:
        raise ProofError("the path is no list of hashes") from error
    if isinstance(proof, GrowthProof):
        old, new = proof.old, proof.new
        same = (old.day, old.first_seq) == (new.day, new.first_seq)
        if not same or not is_consistent(old.rows, roots[0], new.rows, roots[1], path):
            raise ProofError("the later anchor does not continue the earlier one")
        return (
            f"the {old.rows} rows of {old.day} anchored at {old.made_at} are the first of the "
            f"{new.rows} anchored at {new.made_at}"
        )
    row = bytes(proof.row)
    seq = _seq_of(row)
    anchor = proof.anchor
    leaf = hashlib.sha256(row).digest()
    if seq != anchor.first_seq + proof.index:
        raise ProofError(f"row {seq} is not the one at this place of the tree")
    if root_by_path(leaf, proof.index, anchor.rows, path) != roots[0]:
        raise ProofError(f"row {seq} is not in the tree that was signed: it was changed")
    return f"row {seq} is of the {anchor.rows} rows of {anchor.day} anchored at {anchor.made_at}"


def _signed(anchor: Anchor, keys: Sequence[str]) -> None:
    try:
        read_line(line_of(anchor))
    except AnchorError as error:
        raise ProofError(f"its anchor {error}") from error
    if anchor.kind == "pruned":
        raise ProofError("its anchor speaks of rows that were dropped")
    if keys and anchor.key not in keys:
        raise ProofError(f"its anchor is signed with an unknown key, {anchor.key}")


def _seq_of(row: bytes) -> int:
    try:
        return _place.decode(row).seq
    except msgspec.MsgspecError as error:
        raise ProofError(f"its row is none: {error}") from error


def _leaves(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
