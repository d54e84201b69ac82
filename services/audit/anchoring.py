"""Makes anchors: what the chain holds is signed, unless it contradicts what was signed before."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from libs.common.kernel.errors import TradewindError
from services.audit.anchors import Anchor, AnchorError, AnchorKey, Kind, Statement, last_of
from services.audit.logic import Head
from services.audit.merkle import Tree

HASH_BYTES = 32


class HistoryError(TradewindError):
    """The chain is not the one that was anchored; it is not signed again."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows of the chain in order: what the first one follows, their hashes, the last one's seq."""

    before: str
    hashes: Sequence[bytes]
    last_seq: int


class Chain(Protocol):
    """What anchoring needs of the table."""

    async def stretch(self, after: int, up_to: int) -> Stretch:
        """Return the rows after `after` up to `up_to`."""
        ...

    async def last_before(self, moment: dt.datetime | None) -> int:
        """Return the last row recorded before `moment` (at all: None), 0 where there is none."""
        ...

    async def first_day(self, after: int) -> dt.date | None:
        """Return the day on which the row that follows `after` was recorded."""
        ...


class Files(Protocol):
    """Where anchors are kept."""

    def read(self, keys: Sequence[str] = ()) -> list[Anchor]:
        """Return the anchors; raises AnchorError for a line that does not fit."""
        ...

    def previous(self) -> str:
        """Return what the next anchor names as the one before it."""
        ...

    def append(self, anchor: Anchor) -> None:
        """Keep an anchor."""
        ...

    def hashes(self, day: str) -> bytes:
        """Return the hashes of a day's rows."""
        ...

    def keep_hashes(self, day: str, anchored: int, more: bytes) -> None:
        """Put hashes after those of the day's anchored rows."""
        ...


class Anchorer:
    """Writes anchors with one key into one place."""

    def __init__(
        self, chain: Chain, files: Files, key: AnchorKey, *, former_keys: Sequence[str] = ()
    ) -> None:
        self._chain = chain
        self._files = files
        self._key = key
        self._keys = (key.public, *former_keys)
        self._busy = asyncio.Lock()

    async def anchor(self, now: dt.datetime) -> list[Anchor]:
        """Anchor what is new: each day that is over, finally, and today so far.

        Days that nobody anchored while the service was away are made up for, oldest first.
        Raises HistoryError where the chain does not continue what was anchored, AnchorError where
        the anchors themselves were changed, UnavailableError.
        """
        async with self._busy:
            made: list[Anchor] = []
            anchors = self._files.read(self._keys)
            while (anchor := await self._next([*anchors, *made], now)) is not None:
                await asyncio.to_thread(self._files.append, anchor)
                made.append(anchor)
            return made

    async def _next(self, anchors: Sequence[Anchor], now: dt.datetime) -> Anchor | None:
        last = last_of(anchors)
        today = now.astimezone(dt.UTC).date()
        if last is not None and last.kind == "so far":
            day = dt.date.fromisoformat(last.day)
        else:
            first_day = await self._chain.first_day(last.last_seq if last else _pruned(anchors))
            if first_day is None:
                return None
            # A clock that was set back must not make a day come after itself.
            day = (
                max(first_day, dt.date.fromisoformat(last.day) + dt.timedelta(days=1))
                if (last)
                else first_day
            )
        over = day < today
        if not over and day > today:
            return None
        end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
        up_to = await self._chain.last_before(end if over else None)
        return await self._sign(last, anchors, day.isoformat(), up_to, now, over=over)

    async def _sign(
        self,
        last: Anchor | None,
        anchors: Sequence[Anchor],
        day: str,
        up_to: int,
        now: dt.datetime,
        *,
        over: bool,
    ) -> Anchor | None:
        going_on = last if last is not None and last.kind == "so far" else None
        after = Head(last.last_seq, last.head) if last is not None else _pruned_head(anchors)
        if await self._chain.last_before(None) < after.seq:
            raise HistoryError(f"rows up to {after.seq} were anchored and are not there any more")
        if after.seq > _pruned(anchors):
            there = await self._chain.stretch(after.seq - 1, after.seq)
            if there.hashes[-1].hex() != after.hash:
                raise HistoryError(f"row {after.seq} is not the one that was anchored")
        fresh = await self._chain.stretch(after.seq, max(up_to, after.seq))
        if fresh.hashes and fresh.before != after.hash:
            raise HistoryError(
                f"row {after.seq + 1} does not follow row {after.seq} as it was anchored"
            )
        if going_on is None and not fresh.hashes:
            return None
        if going_on is not None and not fresh.hashes and not over:
            return None
        first_seq = going_on.first_seq if going_on else after.seq + 1
        anchored = going_on.rows if going_on else 0
        kept = self._files.hashes(day)[: anchored * HASH_BYTES] if going_on else b""
        if going_on is not None:
            kept = await self._known(going_on, kept)
        tree = Tree()
        tree.extend([kept[at : at + HASH_BYTES] for at in range(0, len(kept), HASH_BYTES)])
        tree.extend(fresh.hashes)
        await asyncio.to_thread(self._files.keep_hashes, day, anchored, b"".join(fresh.hashes))
        kind: Kind = "day" if over else "so far"
        return self._key.sign(
            Statement(
                kind=kind,
                day=day,
                first_seq=first_seq,
                last_seq=max(fresh.last_seq, after.seq),
                root=tree.root.hex(),
                head=fresh.hashes[-1].hex() if fresh.hashes else after.hash,
                made_at=now.astimezone(dt.UTC).isoformat(),
                previous=self._files.previous(),
                key=self._key.public,
            )
        )

    async def _known(self, anchor: Anchor, kept: bytes) -> bytes:
        """Return the hashes of an anchor's rows: those kept, else those of the table."""
        tree = Tree()
        tree.extend([kept[at : at + HASH_BYTES] for at in range(0, len(kept), HASH_BYTES)])
        if tree.root.hex() == anchor.root:
            return kept
        stretch = await self._chain.stretch(anchor.first_seq - 1, anchor.last_seq)
        tree = Tree()
        tree.extend(stretch.hashes)
        if tree.root.hex() != anchor.root:
            raise HistoryError(
                f"the rows of {anchor.day} are not those that were anchored at {anchor.made_at}"
            )
        found = b"".join(stretch.hashes)
        await asyncio.to_thread(self._files.keep_hashes, anchor.day, 0, found)
        return found


def _pruned_head(anchors: Sequence[Anchor]) -> Head:
    for one in reversed(anchors):
        if one.kind == "pruned":
            return Head(one.last_seq, one.head)
    return Head()


def _pruned(anchors: Sequence[Anchor]) -> int:
    return _pruned_head(anchors).seq


__all__ = ["AnchorError", "Anchorer", "Chain", "Files", "HistoryError", "Stretch"]
