"""The chain read in parts breaks where it breaks as a whole, whatever was done to it."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.audit.logic import Claim, Entry, Head, Row, Verification, claim_of, link, verify
from services.audit.spans import Span, follow, span_of
from services.audit.watch import AnchorWatch
from tests.unit.audit.test_audit_chain import NOW, TAMPERED_FIELDS, entry

ROWS = 9
CHAIN = list(link(Head(), [entry(number) for number in range(1, ROWS + 1)]))


def in_parts(claims: list[Claim], head: Head, rows: int) -> Verification:
    """Read as the scan of the table does: by ranges of `seq`, each in its order."""
    last = max((form.seq for form, _ in claims), default=0)

    def part(first: int) -> Span:
        return span_of([one for one in claims if first <= one[0].seq < first + rows], first)

    starts = range(head.seq + 1, last + 1, rows)
    return follow(head, map(part, starts), AnchorWatch((), head.seq + 1, lambda day: b""))


CHANGED: dict[str, Any] = {
    **dict.fromkeys(Entry.__struct_fields__, "changed"),
    **dict.fromkeys(("message_id", "correlation_id", "causation_id"), uuid.UUID(int=99)),
    **dict.fromkeys(("ts", "recorded_at"), NOW + dt.timedelta(microseconds=1)),
    **dict.fromkeys(("hash", "prev_hash"), hashlib.sha256(b"another").hexdigest()),
    "details": '{"n":99}',
}


# Each takes the rows, a place, and another place.
def changed(name: str) -> Callable[[list[Row], int, int], list[Row]]:
    def change(rows: list[Row], at: int, _: int) -> list[Row]:
        rows[at] = msgspec.structs.replace(rows[at], **{name: CHANGED[name]})
        return rows

    return change


def rehashed(rows: list[Row], at: int, _: int) -> list[Row]:
    """A row is rewritten with a hash that fits it."""
    forged = msgspec.structs.replace(_entry(rows[at]), outcome="never")
    rows[at] = next(link(Head(rows[at].seq - 1, rows[at].prev_hash), [forged]))
    return rows


def rewritten(rows: list[Row], at: int, to: int) -> list[Row]:
    """All rows from one to another are written anew, each following the one before."""
    first, last = sorted((at, to))
    head = Head(rows[first].seq - 1, rows[first].prev_hash)
    forged = [msgspec.structs.replace(_entry(one), actor="x") for one in rows[first : last + 1]]
    rows[first : last + 1] = link(head, forged)
    return rows


def removed(rows: list[Row], at: int, to: int) -> list[Row]:
    first, last = sorted((at, to))
    del rows[first : last + 1]
    return rows


def swapped(rows: list[Row], at: int, to: int) -> list[Row]:
    """Two rows change places, their own numbers kept."""
    one, other = rows[at], rows[to]
    rows[at] = msgspec.structs.replace(other, seq=one.seq)
    rows[to] = msgspec.structs.replace(one, seq=other.seq)
    return rows


def renumbered(rows: list[Row], at: int, to: int) -> list[Row]:
    """A row is given a number behind the last."""
    rows[at] = msgspec.structs.replace(rows[at], seq=ROWS + 1 + to)
    return rows


def moved(rows: list[Row], at: int, to: int) -> list[Row]:
    """All rows from one on are given higher numbers, as if others had been there."""
    return rows[:at] + [msgspec.structs.replace(one, seq=one.seq + 1 + to) for one in rows[at:]]


def hole_closed(rows: list[Row], at: int, _: int) -> list[Row]:
    """A row is removed, and the rest moves up."""
    return rows[:at] + [msgspec.structs.replace(one, seq=one.seq - 1) for one in rows[at + 1 :]]


def untouched(rows: list[Row], _: int, __: int) -> list[Row]:
    return rows


def _entry(row: Row) -> Entry:
    return Entry(**{name: getattr(row, name) for name in Entry.__struct_fields__})


TAMPERINGS = {
    **{f"changed {name}": changed(name) for name in TAMPERED_FIELDS},
    **{
        one.__name__: one
        for one in (
            untouched, rehashed, rewritten, removed, swapped, renumbered, moved, hole_closed
        )
    },
}  # fmt: skip
places = st.integers(0, ROWS - 1)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(TAMPERINGS)), places, places), max_size=2),
    st.integers(1, ROWS + 2),
    st.integers(0, ROWS - 1),
)
@example([("changed hash", 3, 0)], 4, 0)
@example([("changed hash", 4, 0)], 4, 0)
@example([("changed prev_hash", 4, 0), ("removed", 3, 3)], 4, 0)
def test_the_same_break_is_named_in_parts_and_as_a_whole(
    done: list[tuple[str, int, int]], rows: int, begin: int
) -> None:
    tampered = list(CHAIN)
    for name, at, to in done:
        if max(at, to) < len(tampered):
            tampered = TAMPERINGS[name](tampered, at, to)
    head = Head(begin, CHAIN[begin - 1].hash) if begin else Head()
    by_number = {one.seq: one for one in tampered if one.seq > begin}  # a number is given once
    claims = [claim_of(by_number[seq]) for seq in sorted(by_number)]
    assert in_parts(claims, head, rows) == verify(claims, head)


def test_each_tampering_shows() -> None:
    for name, tamper in TAMPERINGS.items():
        left = sorted(tamper(list(CHAIN), 3, 5), key=lambda one: one.seq)
        found = in_parts([claim_of(one) for one in left], Head(), 4)
        assert found.valid == (name == "untouched"), name
