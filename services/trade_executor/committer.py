"""Group commit: writes that arrive while one commit is under way share the next.

One connection writes, in the order of arrival, so per-order order is kept and no two writers race.
A batch is one transaction of one server-side call. An entry that the database refuses fails
alone: its batch is carried out again entry by entry.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from libs.common.domain.ledger import OverdraftError
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.bus import LogMessage
from libs.common.runtime.database import FENCE, Database
from libs.common.runtime.logging import get_logger
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.resilience import pauses
from services.trade_executor.gate import TradingGate
from services.trade_executor.metrics import BATCH
from services.trade_executor.rows import gate_from

_log = get_logger(__name__)

# The kill switch is read with every batch: the orders of the batch are asked for it next.
_WRITE: Final = text(
    "SELECT CAST(executor_write(CAST(:batch AS jsonb), :lift) AS text) AS written,"
    f" t.state, t.generation, t.flatten FROM {FENCE}"  # nosec B608 # our own constants
    " LEFT JOIN trading_state t ON t.account_id = :account"
)
_OVERDRAFT: Final = "no_overdraft"
# An entry's message is told already: an earlier try of it did commit, and its answer was lost. Most
# entries say so themselves; a move that leaves the status as it was, or a restatement, cannot.
_TOLD: Final = "uq_outbox_id"
_COMMITTED: Final = {"outcome": "committed"}
# What took place at the venue is booked even where it overdraws an account.
_HAPPENED: Final = frozenset({"book", "reverse", "activity", "restate"})


@dataclass
class Answer:
    """What the function said of one entry. `repeated`: an earlier try may have committed it;
    `outcome` is `committed`, and nothing more is said, where that is known."""

    said: dict[str, Any]
    lifted: tuple[str, ...] = ()
    repeated: bool = False


@dataclass
class _Pending:
    entry: dict[str, Any]
    future: asyncio.Future[Answer]
    repeated: bool = False
    settled: bool = False


class Committer:
    """Takes entries, writes them in batches, publishes their messages after the commit."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        readiness: Readiness,
        *,
        account_id: str,
        batch_max: int,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._readiness = readiness
        self._account_id = account_id
        self._batch_max = batch_max
        self._gate: TradingGate | None = None
        self._queue: deque[_Pending] = deque()
        self._batch: list[_Pending] = []
        self._flushing: asyncio.Task[None] | None = None

    def carry(self, gate: TradingGate) -> None:
        """Bring `gate` the kill switch with every batch."""
        self._gate = gate
        gate.carried = True

    async def write(self, entry: dict[str, Any]) -> Answer:
        """Write one entry durably; waits for as long as the database is away.

        Raises OverdraftError for a hold that its account does not cover, IntegrityError for
        what the tables refuse otherwise.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append(_Pending(entry, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="committer")
        # When the caller is cancelled the entry stays queued: half a thought must not undo it.
        return await future

    @property
    def waiting(self) -> int:
        """Entries that are not known to be committed."""
        return len(self._queue) + sum(not pending.settled for pending in self._batch)

    async def flush(self) -> None:
        """Wait until nothing is queued."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        # One turn of the loop, so that what was made ready together is committed together.
        await asyncio.sleep(0)
        while self._queue:
            size = min(self._batch_max, len(self._queue))
            batch = self._batch = [self._queue.popleft() for _ in range(size)]
            BATCH.observe(size)
            try:
                await self._insist(batch)
            except BaseException as error:
                for pending in batch:
                    _fail(pending, error)
                if not isinstance(error, Exception):
                    raise
                _log.exception("batch_failed", entries=size)

    async def _insist(self, batch: list[_Pending]) -> None:
        """Write a batch, trying again for as long as the database cannot be reached."""
        async for attempt in pauses(0.05, 2.0):
            try:
                await self._carry_out(batch)
            except UnavailableError as error:
                self._readiness.block("books", str(error))
                if attempt == 0:
                    _log.warning("books_wait", error=str(error))
                for pending in batch:
                    pending.repeated = True
            else:
                self._readiness.clear("books")
                return

    async def _carry_out(self, batch: list[_Pending]) -> None:
        open_entries = [pending for pending in batch if not pending.settled]
        try:
            await self._call(open_entries, lift=False)
        except IntegrityError as error:
            if len(open_entries) > 1:
                for pending in open_entries:
                    await self._carry_out([pending])
                return
            await self._alone(open_entries[0], error)

    async def _alone(self, pending: _Pending, error: IntegrityError) -> None:
        """Decide about the one entry that the tables refuse."""
        overdraft = _OVERDRAFT in str(error.orig)
        if overdraft and pending.entry["kind"] in _HAPPENED:
            await self._call([pending], lift=True)
            return
        if pending.repeated and _TOLD in str(error.orig):
            _settle(pending, Answer(_COMMITTED, repeated=True))
            return
        told: Exception = error
        if overdraft:
            told = OverdraftError("the account does not cover what the order would hold")
            told.__cause__ = error
        _fail(pending, told)

    async def _call(self, batch: list[_Pending], *, lift: bool) -> None:
        if not batch:
            return
        entries = orjson.dumps([pending.entry for pending in batch], default=str).decode()
        gate = self._gate
        asking = None if gate is None else gate.asking()
        async with self._database.single() as tx:
            row = await tx.row(
                _WRITE,
                {
                    "batch": entries,
                    "lift": lift,
                    "account": self._account_id,
                    **self._database.fence,
                },
            )
            assert row is not None
            told = orjson.loads(row["written"])
            self._outbox.publish_after(tx, [_message(one) for one in told["messages"]])
        if gate is not None and asking is not None:
            gate.saw(asking, gate_from(row))
        lifted = tuple(told["lifted"] or ())
        for pending, said in zip(batch, told["answers"], strict=True):
            _settle(pending, Answer(said, lifted, pending.repeated))


def _settle(pending: _Pending, answer: Answer) -> None:
    pending.settled = True
    if not pending.future.done():
        pending.future.set_result(answer)


def _fail(pending: _Pending, error: BaseException) -> None:
    if not pending.settled:
        pending.settled = True
        if not pending.future.done():
            pending.future.set_exception(error)


def _message(one: dict[str, Any]) -> LogMessage:
    return LogMessage(uuid.UUID(one["id"]), one["channel"], one["stream"], one["data"].encode())
