"""What a person should hear of: put on the outbox by a task of its own, never by the live path."""

import asyncio
from collections import deque

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import NS_PER_SECOND
from libs.common.runtime.runtime import Runtime

_REPEAT_S = 60.0
_WAITING_MAX = 100


class Alerts:
    """Sends notifications; the same fingerprint at most once a minute."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: deque[Notification] = deque(maxlen=_WAITING_MAX)
        self._sent_ns: dict[str, int] = {}
        self._wake = asyncio.Event()

    def raise_alert(self, level: Level, fingerprint: str, title: str, message: str) -> None:
        """Have a person told; never waits."""
        clock = self._runtime.clock
        now = clock.monotonic_ns()
        if now - self._sent_ns.get(fingerprint, -(10**18)) < _REPEAT_S * NS_PER_SECOND:
            return
        self._sent_ns[fingerprint] = now
        self._waiting.append(
            Notification(
                level=level,
                title=title,
                message=message,
                fingerprint=fingerprint,
                ts=clock.now(),
            )
        )
        self._wake.set()

    async def run(self) -> None:
        """Store and publish until cancelled. Raises UnavailableError: nothing is lost by that."""
        while True:
            while self._waiting:
                async with self._runtime.database.write() as tx:
                    await self._runtime.outbox.add(
                        tx,
                        NOTIFICATIONS,
                        self._waiting[0],
                        correlation_id=self._runtime.ids.new(),
                        key="market",
                    )
                self._waiting.popleft()
            self._wake.clear()
            await self._wake.wait()
