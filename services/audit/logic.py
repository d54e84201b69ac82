"""The hash chain: what is hashed, how rows are linked, and where a chain breaks.

A row's hash is the SHA-256 of its canonical JSON, which contains the hash of the row before
it: one object with the keys action, actor, causation_id, channel, correlation_id, details,
event_type, ip, message_id, outcome, prev_hash, recorded_at, resource, seq, ts, user_agent in
this (sorted) order, UTF-8, no white space, absent values null, hashes as lower-case hex, ids as
hyphenated lower-case UUIDs, times as RFC 3339 UTC with six fraction digits (none when all are
zero), and under `details` the stored text itself. So a chain can be checked in any language
that has JSON and SHA-256, without our code.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec

GENESIS: Final = "0" * 64
"""The `prev_hash` of the first row."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one row says, before it has its place in the chain. `details` is canonical JSON."""

    message_id: UUID
    ts: dt.datetime
    event_type: str
    actor: str
    action: str
    resource: str
    outcome: str
    channel: str
    correlation_id: UUID
    details: str
    recorded_at: dt.datetime
    causation_id: UUID | None = None
    ip: str | None = None
    user_agent: str | None = None


class Row(Entry, frozen=True, kw_only=True):
    """An entry at its place: `hash` covers everything else, `prev_hash` included; both in hex."""

    seq: int
    prev_hash: str
    hash: str


class Canonical(msgspec.Struct, frozen=True):
    """The hashed form. The field order is the sorted key order: it must stay so.

    Ids and times may be given as the text that they would become.
    """

    action: str
    actor: str
    causation_id: UUID | str | None
    channel: str
    correlation_id: UUID | str
    details: msgspec.Raw
    event_type: str
    ip: str | None
    message_id: UUID | str
    outcome: str
    prev_hash: str
    recorded_at: dt.datetime | str
    resource: str
    seq: int
    ts: dt.datetime | str
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a chain; `seq` 0 and the genesis hash when there is none."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Break:
    """The first row that does not fit.

    `code` is SEQ_GAP, PREV_HASH_MISMATCH or HASH_MISMATCH, or, found by the anchors only,
    ANCHOR_MISMATCH, ANCHORED_ROWS_GONE or ANCHORS_BROKEN. `day` is the UTC day that an anchor
    speaks of; not `exact`: the row is this one or one of the same day after it.
    """

    seq: int
    code: str
    expected: str
    found: str
    day: str | None = None
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of reading a chain: how many rows fit, the last good head, the first break, and
    how many anchors held, the last of them up to which row."""

    rows: int
    head: Head
    broken: Break | None
    anchors: int = 0
    anchored_seq: int = 0

    @property
    def valid(self) -> bool:
        """Whether every row read fits."""
        return self.broken is None


Claim = tuple[Canonical, str]
"""A row's hashed form, with its own seq and prev_hash, and the hash that it claims to have."""

_encoder: Final = msgspec.json.Encoder()
_sorted: Final = msgspec.json.Encoder(order="deterministic")


def canonical_details(details: object) -> str:
    """Return `details` as canonical JSON text: {"b": 1, "a": 2} -> '{"a":2,"b":1}'."""
    return _sorted.encode(details).decode()


def canonical(entry: Entry, seq: int, prev_hash: str) -> Canonical:
    """Return the form of `entry` at place `seq` that its hash is taken over."""
    return Canonical(
        entry.action,
        entry.actor,
        entry.causation_id,
        entry.channel,
        entry.correlation_id,
        msgspec.Raw(entry.details.encode()),
        entry.event_type,
        entry.ip,
        entry.message_id,
        entry.outcome,
        prev_hash,
        entry.recorded_at,
        entry.resource,
        seq,
        entry.ts,
        entry.user_agent,
    )


def canonical_bytes(form: Canonical) -> bytes:
    """Return the canonical JSON of a row."""
    return _encoder.encode(form)


def digest(form: Canonical) -> str:
    """Return the SHA-256 of the canonical JSON, 64 lower-case hex digits."""
    return hashlib.sha256(_encoder.encode(form)).hexdigest()


def link(head: Head, entries: Iterable[Entry]) -> Iterator[Row]:
    """Yield each entry as the row at its place, the first one following `head`."""
    for entry in entries:
        seq = head.seq + 1
        found = digest(canonical(entry, seq, head.hash))
        yield Row(**_fields(entry), seq=seq, prev_hash=head.hash, hash=found)
        head = Head(seq, found)


def claim_of(row: Row) -> Claim:
    """Return what `row` claims about itself."""
    return canonical(row, row.seq, row.prev_hash), row.hash


def find_break(claim: Claim, before: Head) -> Break | None:
    """Return what is wrong with a row as the successor of `before`, None if nothing is."""
    form, claimed = claim
    if form.seq != before.seq + 1:
        return Break(form.seq, "SEQ_GAP", str(before.seq + 1), str(form.seq))
    if form.prev_hash != before.hash:
        return Break(form.seq, "PREV_HASH_MISMATCH", before.hash, form.prev_hash)
    computed = digest(form)
    if claimed != computed:
        return Break(form.seq, "HASH_MISMATCH", computed, claimed)
    return None


def verify(claims: Iterable[Claim], head: Head) -> Verification:
    """Read claims in order from `head` on and stop at the first that does not fit.

    The part of a chain before `head` is taken on trust; `Head()` starts at the beginning.
    """
    count = 0
    for claim in claims:
        broken = find_break(claim, head)
        if broken is not None:
            return Verification(count, head, broken)
        head = Head(claim[0].seq, claim[1])
        count += 1
    return Verification(count, head, None)


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__struct_fields__}
