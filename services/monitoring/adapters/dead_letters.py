"""The dead-letter stream: every message that was given up becomes an alert."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from libs.common.contracts.channels import DEAD_LETTERS
from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import derived_id
from libs.common.runtime.bus import Bus
from libs.common.runtime.logging import get_logger
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.resilience import pauses
from services.monitoring import metrics
from services.monitoring.alerts import Raise, fingerprint_of

_log = get_logger(__name__)

_BLOCK_MS: Final = 1000
_BATCH: Final = 50
_PART: Final = "dead letters"


class DeadLetterReader:
    """Reads the dead letters as `consumer` of `group`; acknowledges what is noted."""

    def __init__(
        self, bus: Bus, clock: Clock, readiness: Readiness, *, group: str, consumer: str
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._readiness = readiness
        self._group = group
        self._consumer = consumer

    async def run(self, take: Callable[[Raise], Awaitable[None]]) -> None:
        """Read until cancelled; outlive every loss of Redis and of the database."""
        async for _ in pauses(0.1, 2.0):
            client = self._bus.connect(_BLOCK_MS / 1000 + 5)
            try:
                await self._bus.ensure_group(DEAD_LETTERS, self._group)
                self._readiness.clear(_PART)
                position = "0"
                while True:
                    entries = await self._fetch(client, position)
                    for entry_id, fields in entries:
                        await take(self._raise(entry_id, fields))
                        await client.xack(DEAD_LETTERS, self._group, entry_id)
                    position = "0" if entries and position == "0" else ">"
            except ResponseError as error:
                _log.warning("dead_letters_interrupted", error=str(error))
            except (UnavailableError, RedisError, OSError, TimeoutError) as error:
                self._readiness.block(_PART, str(error))
                _log.warning("dead_letters_interrupted", error=str(error))
            finally:
                await client.aclose()

    async def _fetch(self, client: Any, position: str) -> list[tuple[str, dict[str, str]]]:
        answer = await client.xreadgroup(
            self._group,
            self._consumer,
            {DEAD_LETTERS: position},
            count=_BATCH,
            block=_BLOCK_MS if position == ">" else None,
        )
        if not answer:
            return []
        entries = next(iter(answer.values())) if isinstance(answer, dict) else answer[0][1]
        first = entries[0] if entries else None
        if isinstance(first, list) and (not first or isinstance(first[0], tuple | list)):
            entries = first
        return [(entry[0].decode(), _text(entry[1] or {})) for entry in entries]

    def _raise(self, entry_id: str, fields: dict[str, str]) -> Raise:
        stream, group = fields.get("stream", "?"), fields.get("group", "?")
        metrics.DEAD.labels(stream).inc()
        return Raise(
            message_id=derived_id("dead_letter", entry_id, stream, fields.get("id", "")),
            level=Level.ERROR,
            source=group,
            fingerprint=fingerprint_of("dead_letter", stream, group),
            title=f"{group} gave up on a message of {stream}",
            message=fields.get("error", "no error was given"),
            ts=self._clock.now(),
            context={"stream": stream, "group": group, "entry": fields.get("id", entry_id)},
        )


def _text(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(): value.decode(errors="replace")
        for name, value in fields.items()
        if name != b"message"
    }
