"""Holds the rows of the chain, as they are read in order, against the anchors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from services.audit.anchors import Anchor
from services.audit.logic import Break, Head
from services.audit.merkle import Tree, root_of

HASH_BYTES: Final = 32

Hashes = Callable[[str], bytes]
"""The hashes of a day's rows as they were when it was anchored, one after the other; empty where
they are not kept."""


class AnchorWatch:
    """Compares rows with the anchors that speak of them, from row `first_seq` on.

    Days that began before `first_seq` cannot be compared and are left out.
    """

    def __init__(self, anchors: Sequence[Anchor], first_seq: int, hashes: Hashes) -> None:
        self._anchors = [
            one for one in anchors if one.kind != "pruned" and one.first_seq >= first_seq
        ]
        self._hashes = hashes
        self._place = 0
        self._tree = Tree()
        self._first = 0
        self._day = bytearray()
        self.held = 0
        self.held_seq = 0

    def feed(self, first_seq: int, hashes: bytes) -> Break | None:
        """Take the hashes of the rows from `first_seq` on; return what an anchor says against."""
        at, seq = 0, first_seq
        while at < len(hashes) and self._place < len(self._anchors):
            anchor = self._anchors[self._place]
            if anchor.first_seq != self._first:
                self._first, self._tree, self._day = anchor.first_seq, Tree(), bytearray()
            if seq < anchor.first_seq:
                skipped = min(anchor.first_seq - seq, (len(hashes) - at) // HASH_BYTES)
                at, seq = at + skipped * HASH_BYTES, seq + skipped
                continue
            wanted = anchor.last_seq - seq + 1
            part = hashes[at : at + wanted * HASH_BYTES]
            self._day += part
            self._tree.extend(_leaves(part))
            at, seq = at + len(part), seq + len(part) // HASH_BYTES
            if (broken := self._compare_ended(seq)) is not None:
                return broken
        return None

    def _compare_ended(self, seq: int) -> Break | None:
        """Hold the rows up to `seq` against the anchors that end there: a day's last word ends
        where the word before it did if nothing came in between."""
        while self._place < len(self._anchors):
            anchor = self._anchors[self._place]
            if anchor.first_seq != self._first or anchor.last_seq != seq - 1:
                return None
            if (broken := self._compare(anchor)) is not None:
                return broken
        return None

    def _compare(self, anchor: Anchor) -> Break | None:
        found = self._tree.root.hex()
        if found == anchor.root and self._tree.size == anchor.rows:
            self._place += 1
            self.held += 1
            self.held_seq = anchor.last_seq
            return None
        exact = self._difference(anchor)
        if exact is not None:
            return exact
        since = max(self.held_seq + 1, anchor.first_seq)
        return Break(since, "ANCHOR_MISMATCH", anchor.root, found, anchor.day, exact=False)

    def _difference(self, anchor: Anchor) -> Break | None:
        """Return the first row that is not what it was, where the hashes of then are kept."""
        kept = self._hashes(anchor.day)[: anchor.rows * HASH_BYTES]
        if root_of(_leaves(kept)).hex() != anchor.root:
            return None
        for at in range(0, min(len(kept), len(self._day)), HASH_BYTES):
            then, now = kept[at : at + HASH_BYTES], bytes(self._day[at : at + HASH_BYTES])
            if then != now:
                seq = anchor.first_seq + at // HASH_BYTES
                return Break(seq, "ANCHOR_MISMATCH", then.hex(), now.hex(), anchor.day)
        return None

    def earlier(self, broken: Break) -> Break:
        """Return the first row that an anchor of the same day contradicts, `broken` where none
        does: who recomputes the chain from one row on and stops has changed more than the row at
        which it breaks."""
        last = next((one for one in reversed(self._anchors) if one.first_seq == self._first), None)
        found = self._difference(last) if last is not None else None
        if found is not None and found.seq < broken.seq:
            return found
        day = next(
            (one.day for one in self._anchors if one.first_seq <= broken.seq <= one.last_seq), None
        )
        return Break(broken.seq, broken.code, broken.expected, broken.found, broken.day or day)

    def finish(self, head: Head) -> Break | None:
        """Return the anchored rows that are not there, after the chain's last one, `head`."""
        left = self._anchors[self._place :]
        if not left:
            return None
        anchor = left[0]
        return Break(
            max(head.seq + 1, anchor.first_seq),
            "ANCHORED_ROWS_GONE",
            f"rows up to {left[-1].last_seq}",
            f"the last row is {head.seq}",
            anchor.day,
        )


def _leaves(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
