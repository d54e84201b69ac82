"""One hand on a symbol at a time: who closes a position and who guards it must not fight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Claims:
    """A lock for each symbol, with a name for who holds it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._holders: dict[str, str] = {}

    def holder(self, symbol: str) -> str | None:
        """Return who holds `symbol`, None if nobody."""
        return self._holders.get(symbol)

    @asynccontextmanager
    async def hold(self, symbol: str, who: str) -> AsyncIterator[None]:
        """Wait for `symbol` and hold it: its exits may be cancelled and put back inside."""
        lock = self._locks.get(symbol)
        if lock is None:
            lock = self._locks[symbol] = asyncio.Lock()
        async with lock:
            self._holders[symbol] = who
            try:
                yield
            finally:
                del self._holders[symbol]
