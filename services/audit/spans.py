"""The chain in parts: each is read by itself, anywhere, and what does not fit is found where the
parts are joined. It names the same row, for the same reason, as `verify` does on the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.audit.logic import Break, Claim, Head, Verification, digest, find_break
from services.audit.watch import HASH_BYTES, AnchorWatch


class ScanStoppedError(Exception):
    """The caller's `progress` asked to stop."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the chain as it was read: the hashes of the rows that fit, where it starts and
    ends, and the first row that does not fit to the one before it within the part."""

    first: Head
    last: Head
    rows: int
    hashes: bytes
    broken: Break | None


def span_of(claims: Iterable[Claim], first_seq: int) -> Span:
    """Return the part that begins at row `first_seq`; that its first row follows what is before
    the part is for the caller to see: `first` is what it claims to follow."""
    begin = Head(first_seq - 1)
    hashes: list[str] = []
    broken: Break | None = None
    for claim in claims:
        form, claimed = claim
        if not hashes:
            begin = Head(form.seq - 1, form.prev_hash)
            seq, last = begin.seq, begin.hash
        # What `find_break` asks, without a call and a head for each of millions of rows.
        seq += 1
        if form.seq != seq or form.prev_hash != last or digest(form) != claimed:
            broken = find_break(claim, Head(seq - 1, last))
            break
        last = claimed
        hashes.append(claimed)
    end = Head(begin.seq + len(hashes), hashes[-1] if hashes else begin.hash)
    return Span(begin, end, len(hashes), bytes.fromhex("".join(hashes)), broken)


def follow(
    head: Head,
    spans: Iterable[Span],
    watch: AnchorWatch,
    progress: Callable[[int], bool] | None = None,
) -> Verification:
    """Join the parts after `head`, hold them against the anchors, stop at the first row that does
    not fit. Raises ScanStoppedError when `progress`, called with the rows so far, says so."""
    count = 0
    for span in spans:
        apart = _joined(head, span)
        broken = apart or watch.feed(head.seq + 1, span.hashes) or span.broken
        if broken is not None:
            # Of a part that does not follow, no row fits, however far off it is.
            fitting = 0 if apart else min(span.rows, max(0, broken.seq - 1 - head.seq))
            at = head if not fitting else _head_within(span, fitting)
            return Verification(
                count + fitting, at, watch.earlier(broken), watch.held, watch.held_seq
            )
        head = span.last if span.rows else head
        count += span.rows
        if progress is not None and not progress(count):
            raise ScanStoppedError
    return Verification(count, head, None, watch.held, watch.held_seq)


def _joined(head: Head, span: Span) -> Break | None:
    """Return what is wrong with a part as the successor of `head`."""
    if not span.rows and span.broken is None:
        return None
    first = span.first.seq + 1
    if first != head.seq + 1:
        return Break(first, "SEQ_GAP", str(head.seq + 1), str(first))
    if span.first.hash != head.hash:
        return Break(first, "PREV_HASH_MISMATCH", head.hash, span.first.hash)
    return None


def _head_within(span: Span, rows: int) -> Head:
    """Return the head after the first `rows` rows of a part."""
    return Head(
        span.first.seq + rows, span.hashes[(rows - 1) * HASH_BYTES : rows * HASH_BYTES].hex()
    )
