"""The last use of API keys, told to the security service now and then."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Final

from libs.common.contracts.messages import KeyUse
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger

_log = get_logger(__name__)

TELL_S: Final = 60.0
KEYS_MAX: Final = 10_000


class KeyUses:
    """Gathers uses in memory and tells the last one of each key once a minute.

    A use that nobody hears of is lost; the next one heals it.
    """

    def __init__(self, tell: Callable[[KeyUse], Awaitable[None]], every_s: float = TELL_S) -> None:
        self._tell = tell
        self._every_s = every_s
        self._uses: dict[str, tuple[dt.datetime, str]] = {}

    def note(self, key_id: str, at: dt.datetime, ip: str) -> None:
        """Keep a use; of more keys than KEYS_MAX in a minute the rest is not noted."""
        if key_id in self._uses or len(self._uses) < KEYS_MAX:
            self._uses[key_id] = at, ip

    async def run(self) -> None:
        """Tell what was gathered, each minute; runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.flush()

    async def flush(self) -> None:
        """Tell what was gathered."""
        uses, self._uses = self._uses, {}
        try:
            for key_id, (at, ip) in uses.items():
                await self._tell(KeyUse(key_id=key_id, ts=at, ip=ip))
        except UnavailableError as error:
            _log.warning("key_uses_not_told", error=str(error), keys=len(uses))
