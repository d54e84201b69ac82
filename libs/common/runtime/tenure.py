"""One process works for an account, others stand by.

Judging and sending are only safe where one process does them: two risk managers would spend the
same headroom twice, two executors would send what the other has sent. So the process that works
holds a *desk*:

- A session lock of PostgreSQL on a connection of its own says that it lives. It falls with the
  process or with its connection; whoever waits for it takes over within a second. A process that
  stands still with its connection alive keeps the lock, but not its *lease*: the holder signs the
  desk once a second, and who has seen no new signature for `lease_s` cuts that connection.
- An *epoch*, raised at each taking, says who holds it. Every transaction that decides something
  asks `desk_fence` first, which refuses an epoch that is not the present one. A take-over waits for
  transactions that have passed the fence, so what it then reads is all that its predecessor did.
  The executor asks once more at the last step before the wire.

A process that finds that somebody else has taken its desk ends itself at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.database import Database
from libs.common.runtime.logging import get_logger
from libs.common.runtime.readiness import Readiness

_log = get_logger(__name__)

_WAIT_S: Final = 0.5
_LOOK_S: Final = 1.0
_LOCK: Final = text(
    "SELECT pg_try_advisory_lock(hashtextextended('desk:' || :service || ':' || :account, 0))"
)
# A server that cannot reach us any more lets go of the lock within about ten seconds.
_SHORT_LIVED: Final = text(
    "SELECT set_config('tcp_keepalives_idle', '4', false),"
    " set_config('tcp_keepalives_interval', '2', false),"
    " set_config('tcp_keepalives_count', '3', false)"
)
_TAKE: Final = text("SELECT desk_take(:service, :account, :instance)")
_SIGNED: Final = text(
    "SELECT epoch, seen_at, instance FROM desks WHERE service = :service AND account_id = :account"
)
_HOLDER: Final = text(
    "SELECT epoch, instance, taken_at FROM desks WHERE service = :service AND account_id = :account"
)
_SIGN: Final = text(
    "UPDATE desks SET seen_at = clock_timestamp()"
    " WHERE service = :service AND account_id = :account AND epoch = :epoch RETURNING epoch"
)
# A role may end its own connections. Besides the desk's lock those that hold the fence: a process
# that stands still in the middle of a transaction would have the take-over wait for its end. The
# 64 bits of a lock stand in two halves.
_CUT: Final = text(
    """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32 | objid::bigint)
          IN (hashtextextended('desk:' || :service || ':' || :account, 0),
              hashtextextended('desk_fence:' || :service || ':' || :account, 0))
      AND pid <> pg_backend_pid()
    """
)
_PART: Final = "desk"


class Tenure:
    """Holds the desk of one service for one account."""

    def __init__(
        self,
        database: Database,
        readiness: Readiness,
        *,
        service: str,
        account_id: str,
        instance: str,
        lease_s: float,
    ) -> None:
        self._database = database
        self._readiness = readiness
        self._who = {"service": service, "account": account_id}
        self._instance = instance
        self._lease_s = lease_s
        self._signed: object = None  # the last signature of another holder, and when it was new
        self._signed_at = 0.0
        self._looked_at = 0.0
        self._connection: AsyncConnection | None = None
        self._epoch: int | None = None

    @property
    def epoch(self) -> int | None:
        """The number of our tenure, None before the desk was taken."""
        return self._epoch

    async def take(self) -> None:
        """Return once the desk is ours; a start hook, so nothing is decided before.

        Raises UnavailableError when the database is away.
        """
        while self._connection is None:
            if await self._lock():
                await self._begin()
                break
            self._readiness.block(_PART, f"standing by: {await self._holder()}")
            await self._end_stale()
            await asyncio.sleep(_WAIT_S)
        self._readiness.clear(_PART)

    async def watch(self) -> None:
        """Look for ever whether the desk is still ours; end the process when it is not."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                if await self._still_ours():
                    continue
            except UnavailableError as error:
                # Without its database nobody decides anything; it is looked at again.
                _log.warning("desk_unseen", error=str(error))
                await self.release()
                continue
            _log.critical("desk_lost", epoch=self._epoch, **self._who)
            sys.stdout.flush()
            # No clean shutdown: whatever it would still do is his who has the desk now.
            os._exit(os.EX_TEMPFAIL)

    async def release(self) -> None:
        """Give the desk back; a stop hook, after everything that writes has stopped."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def _lock(self) -> bool:
        """Try for the session lock on a connection of its own, which is then kept."""
        connection = await self._database.own_connection()
        locked = False
        try:
            async with self._database.translated():
                await connection.execute(_SHORT_LIVED)
                locked = bool((await connection.execute(_LOCK, self._who)).scalar_one())
        finally:
            if not locked:
                await connection.close()
        if locked:
            self._connection = connection
        return locked

    async def _begin(self) -> None:
        """Raise the epoch: from here on only we write."""
        assert self._connection is not None
        try:
            async with self._database.translated():
                taken = await self._connection.execute(
                    _TAKE, {**self._who, "instance": self._instance}
                )
        except BaseException:
            await self.release()
            raise
        self._epoch = int(taken.scalar_one())
        self._database.fence_by(**self._who, epoch=self._epoch)
        _log.info("desk_taken", epoch=self._epoch, **self._who)

    async def _still_ours(self) -> bool:
        """Tell whether the epoch is still ours. The lock of a lost connection is tried for again;
        until it is had somebody else may take the desk, and then the epoch is his."""
        if self._connection is None:
            await self._lock()
        if self._connection is None:
            async with self._database.read() as session:
                row = await session.row(_HOLDER, self._who)
                return row is not None and row["epoch"] == self._epoch
        async with self._database.translated():
            signed = await self._connection.execute(_SIGN, {**self._who, "epoch": self._epoch})
        return signed.first() is not None

    async def _end_stale(self) -> None:
        """Cut the lock of a holder that has not signed for a lease; the next try then has it.

        Counted is the time that this process has watched one signature, with the database there:
        no two clocks are compared, and an outage makes nobody stale. What the holder still writes
        is refused by the fence as soon as the desk is taken.
        """
        async with self._database.read() as session:
            row = await session.row(_SIGNED, self._who)
        now = time.monotonic()
        signature = row and (row["epoch"], row["seen_at"])
        if signature != self._signed or now - self._looked_at > self._lease_s / 2:
            self._signed, self._signed_at = signature, now
        self._looked_at = now
        if signature is None or now - self._signed_at < self._lease_s:
            return
        _log.error("desk_stale", **self._who, held_by=row and row["instance"])
        self._signed_at = now
        async with self._database.write() as tx:
            await tx.execute(_CUT, self._who)

    async def _holder(self) -> str:
        async with self._database.read() as session:
            row = await session.row(_HOLDER, self._who)
        if row is None:
            return "another process is about to take this desk"
        return f"instance {row['instance']} holds this desk since {row['taken_at'].isoformat()}"
