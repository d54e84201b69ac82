"""Market data of the symbols that triggers wait for, and of no others.

The executor's event loop is for orders: where nobody waits nothing is subscribed, and a few
symbols are subscribed one by one rather than all of the market.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from libs.common.contracts.channels import MARKET_DATA
from libs.common.runtime.bus import Bus
from libs.common.runtime.consumers import BroadcastListener, BroadcastReader
from libs.common.runtime.readiness import Readiness
from services.trade_executor.triggers import Triggers

_SINGLE_MAX: Final = 8


class TriggerFeed:
    """Follows the market for `Triggers`."""

    def __init__(self, bus: Bus, triggers: Triggers, readiness: Readiness) -> None:
        self._bus = bus
        self._triggers = triggers
        self._readiness = readiness

    async def run(self) -> None:
        """Follow until cancelled; subscribe anew whenever other symbols are waited for."""
        while True:
            self._triggers.changed.clear()
            symbols = self._triggers.symbols
            readers = [
                asyncio.create_task(self._reader(pattern).run(), name=f"triggers {pattern}")
                for pattern in _patterns(symbols)
            ]
            try:
                while self._triggers.symbols == symbols:
                    await self._triggers.changed.wait()
                    self._triggers.changed.clear()
            finally:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)

    def _reader(self, pattern: str) -> BroadcastReader:
        listener = BroadcastListener(MARKET_DATA, self._triggers.hear)
        return BroadcastReader(self._bus, listener, readiness=self._readiness, pattern=pattern)


def _patterns(symbols: frozenset[str]) -> list[str]:
    if len(symbols) > _SINGLE_MAX:
        return [MARKET_DATA.pattern]
    name: Callable[[str], str] = MARKET_DATA.name
    return [name(symbol) for symbol in sorted(symbols)]
