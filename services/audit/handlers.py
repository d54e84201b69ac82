"""What audit does with messages: record them, and watch that the record stands."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import ContractError, UnavailableError
from libs.common.runtime.secrets import UnreadableError
from services.audit import metrics
from services.audit.entries import entries_of
from services.audit.logic import Entry, Head
from services.audit.ports import AuditLog, Delivery, Refused
from services.audit.sealing import DataKey, Sealer

ROWS_MAX: Final = 5_000
"""Rows after which a transaction ends: a message of calls holds hundreds."""


@dataclass
class Recorder:
    """Takes deliveries to the log and remembers the head that it wrote last."""

    log: AuditLog
    clock: Clock
    sealer: Sealer | None = None
    head: Head = field(default_factory=Head)
    lost: Head | None = None
    """A head of ours that was found gone when the next rows were to follow it."""

    async def record(self, deliveries: Sequence[Delivery]) -> list[Refused]:
        """Append the deliveries, oldest first, in one transaction, or several where they hold more
        rows than ROWS_MAX; return what is no envelope.

        Raises UnavailableError; recording again is then right, whatever had been committed.
        """
        started = time.perf_counter()
        entries: list[Entry] = []
        refused: list[Refused] = []
        recorded_at = self.clock.now()
        key = await self._key_at(recorded_at)
        for delivery in deliveries:
            channel = delivery.stream.removeprefix("log:")
            try:
                entries += entries_of(delivery.data, channel, recorded_at, key)
            except ContractError as error:
                refused.append(Refused(delivery, str(error)))
            if len(entries) >= ROWS_MAX:
                await self._append(entries)
                entries = []
        await self._append(entries)
        metrics.REJECTED.inc(len(refused))
        metrics.APPEND_DURATION.observe(time.perf_counter() - started)
        return refused

    async def _append(self, entries: list[Entry]) -> None:
        if not entries:
            return
        entries.sort(key=lambda entry: entry.ts)
        appended = await self.log.append(entries)
        if appended.before != self.head and not await self.log.holds(self.head):
            self.lost = self.head
        self.head = appended.head
        metrics.ROWS.inc(appended.rows)
        metrics.DUPLICATES.inc(appended.duplicates)
        metrics.HEAD_SEQ.set(appended.head.seq)

    async def _key_at(self, moment: dt.datetime) -> DataKey | None:
        """Return the key that seals what is recorded now: without the right one nothing is."""
        try:
            return await self.sealer.key_at(moment) if self.sealer else None
        except UnreadableError as error:
            raise UnavailableError(str(error)) from error

    async def stands(self) -> bool:
        """Tell whether the last row that this process wrote is still there, unchanged.

        A chain cut off at its end is valid in itself; only who wrote it can know.
        """
        return self.lost is None and await self.log.holds(self.head)
