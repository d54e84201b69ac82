"""Closing differences that are no more, and lifting what they blocked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from services.trade_executor.gate import Blocks
from services.trade_executor.ports import Discrepancy, OpenDiscrepancy


class Record(Protocol):
    """Where discrepancies stand; the books."""

    async def open_discrepancies(self) -> Sequence[OpenDiscrepancy]:
        """Return what is not resolved."""
        ...

    async def resolve_discrepancy(self, one: OpenDiscrepancy, resolution: str) -> None:
        """Note how a difference ended."""
        ...


class Resolutions:
    """Resolves discrepancies on record, then lifts their blocks, whatever becomes of the answer:
    once the record is closed nothing else would tell that its block is to go."""

    def __init__(self, books: Record, blocks: Blocks) -> None:
        self._books = books
        self._blocks = blocks
        self._unanswered: dict[UUID, Discrepancy] = {}

    async def open(self) -> Sequence[OpenDiscrepancy]:
        """Return what stands open; lift the blocks of what proves to be closed since its closing
        was tried. Raises UnavailableError."""
        still = await self._books.open_discrepancies()
        standing = {one.id for one in still}
        blocking = {(one.found.symbol, one.found.kind) for one in still}
        for identity, found in list(self._unanswered.items()):
            del self._unanswered[identity]
            if identity not in standing and (found.symbol, found.kind) not in blocking:
                await self._blocks.clear(found.symbol, found.kind)
        return still

    async def resolve(self, one: OpenDiscrepancy, why: str) -> None:
        """Close one and lift its block. Raises UnavailableError; `open` then tells whether it is
        closed."""
        self._unanswered[one.id] = one.found
        await self._books.resolve_discrepancy(one, why)
        del self._unanswered[one.id]
        await self._blocks.clear(one.found.symbol, one.found.kind)
