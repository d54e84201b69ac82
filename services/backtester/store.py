"""Runs in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.engine import RowMapping

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.kernel.errors import ConflictError, NotFoundError
from libs.common.runtime.database import Database, ReadSession, WriteSession
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema.backtests import backtests
from services.backtester.ports import (
    FINISHED,
    Artefact,
    Ended,
    Progress,
    QueueFullError,
    Run,
    Status,
)

# Who submits waits for who submits: the queue is counted and joined in one piece.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('backtests queue'))")
_AGAIN: Final = frozenset({Status.FAILED, Status.CANCELLED, Status.INTERRUPTED})
_SORTED: Final = msgspec.json.Encoder(order="deterministic")


class RunStore:
    """The runs of one database."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    async def submit(
        self, run_id: UUID, kind: str, request: Mapping[str, Any], key: str | None, queue_max: int
    ) -> Run:
        """Queue a run; see the port."""
        digest = hashlib.sha256(_SORTED.encode([kind, request])).hexdigest()
        async with self._database.write() as tx:
            await tx.execute(_LOCK)
            known = await self._known(tx, key)
            if known is not None:
                if known["request_hash"] != digest:
                    raise ConflictError(f"Idempotency-Key {key!r} was used for another request")
                return _run(known)
            await self._check_room(tx, queue_max)
            values = {
                "id": run_id,
                "kind": kind,
                "status": Status.QUEUED.value,
                "request": request,
                "request_key": key,
                "request_hash": digest,
            }
            await tx.execute(insert(backtests).values(**values))
            return await _get(tx, run_id)

    async def claim(self, instance: str) -> Run | None:
        """Start the oldest queued run; see the port."""
        oldest = (
            select(backtests.c.id)
            .where(backtests.c.status == Status.QUEUED.value)
            .order_by(backtests.c.submitted_at, backtests.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        async with self._database.write() as tx:
            row = await tx.row(
                update(backtests)
                .where(backtests.c.id == oldest.scalar_subquery())
                .values(
                    status=Status.RUNNING.value,
                    instance=instance,
                    attempts=backtests.c.attempts + 1,
                    started_at=func.now(),
                    progress=None,
                )
                .returning(backtests)
            )
        return None if row is None else _run(row)

    async def note(self, run_id: UUID, progress: Progress) -> None:
        """Store how far a run is."""
        async with self._database.write() as tx:
            await tx.execute(
                update(backtests)
                .where(backtests.c.id == run_id, backtests.c.status == Status.RUNNING.value)
                .values(progress=msgspec.to_builtins(progress))
            )

    async def finish(
        self, run_id: UUID, status: Status, ended: Ended, notice: Notification | None = None
    ) -> Run:
        """Store how a running run ended; see the port."""
        async with self._database.write() as tx:
            done = await tx.execute(
                update(backtests)
                .where(backtests.c.id == run_id, backtests.c.status == Status.RUNNING.value)
                .values(
                    status=status.value,
                    result=ended.result,
                    error=ended.error,
                    artefacts=msgspec.to_builtins(tuple(ended.artefacts)),
                    finished_at=func.now(),
                )
            )
            if notice is not None and done.rowcount:
                await self._outbox.add(
                    tx, NOTIFICATIONS, notice, correlation_id=run_id, key="parity"
                )
            return await _get(tx, run_id)

    async def cancel(self, run_id: UUID) -> Run:
        """Cancel a run; see the port."""
        return await self._change(
            run_id,
            frozenset({Status.QUEUED, Status.RUNNING}),
            {"status": Status.CANCELLED.value, "finished_at": func.now()},
        )

    async def requeue(self, run_id: UUID, queue_max: int) -> Run:
        """Queue a run again; see the port."""
        values = {
            "status": Status.QUEUED.value,
            "error": None,
            "progress": None,
            "finished_at": None,
            "submitted_at": func.now(),
        }
        return await self._change(run_id, _AGAIN, values, queue_max=queue_max)

    async def remove(self, run_id: UUID) -> None:
        """Forget a finished run; see the port."""
        async with self._database.write() as tx:
            await _check(tx, run_id, FINISHED)
            await tx.execute(delete(backtests).where(backtests.c.id == run_id))

    async def get(self, run_id: UUID) -> Run:
        """Return a run. Raises NotFoundError."""
        async with self._database.read() as session:
            return await _get(session, run_id)

    async def page(
        self, status: Status | None, kind: str | None, after: UUID | None, limit: int
    ) -> Sequence[Run]:
        """Return runs, newest first; see the port. Ids are in order of time."""
        query = select(backtests).order_by(backtests.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(backtests.c.status == status.value)
        if kind is not None:
            query = query.where(backtests.c.kind == kind)
        if after is not None:
            query = query.where(backtests.c.id < after)
        async with self._database.read() as session:
            return [_run(row) for row in await session.rows(query)]

    async def interrupt(self, instance: str) -> int:
        """Mark what this instance left running; see the port."""
        async with self._database.write() as tx:
            done = await tx.execute(
                update(backtests)
                .where(backtests.c.status == Status.RUNNING.value, backtests.c.instance == instance)
                .values(
                    status=Status.INTERRUPTED.value,
                    error="the service ended while this ran; POST …/resume queues it again",
                    finished_at=func.now(),
                )
            )
        return done.rowcount

    async def waiting(self) -> int:
        """Return how many runs are queued."""
        async with self._database.read() as session:
            return await _queued(session)

    async def _known(self, tx: WriteSession, key: str | None) -> RowMapping | None:
        if key is None:
            return None
        return await tx.row(select(backtests).where(backtests.c.request_key == key))

    async def _check_room(self, tx: WriteSession, queue_max: int) -> None:
        if await _queued(tx) >= queue_max:
            raise QueueFullError(f"{queue_max} backtests wait already; try again later")

    async def _change(
        self,
        run_id: UUID,
        allowed: frozenset[Status],
        values: Mapping[str, Any],
        queue_max: int | None = None,
    ) -> Run:
        async with self._database.write() as tx:
            await tx.execute(_LOCK)
            await _check(tx, run_id, allowed)
            if queue_max is not None:
                await self._check_room(tx, queue_max)
            await tx.execute(update(backtests).where(backtests.c.id == run_id).values(**values))
            return await _get(tx, run_id)


async def _check(tx: WriteSession, run_id: UUID, allowed: frozenset[Status]) -> None:
    row = await tx.row(select(backtests.c.status).where(backtests.c.id == run_id).with_for_update())
    if row is None:
        raise NotFoundError(f"there is no backtest {run_id}")
    if Status(row["status"]) not in allowed:
        raise ConflictError(f"backtest {run_id} is {row['status']}")


async def _get(session: ReadSession, run_id: UUID) -> Run:
    row = await session.row(select(backtests).where(backtests.c.id == run_id))
    if row is None:
        raise NotFoundError(f"there is no backtest {run_id}")
    return _run(row)


async def _queued(session: ReadSession) -> int:
    row = await session.row(
        select(func.count().label("count")).where(backtests.c.status == Status.QUEUED.value)
    )
    return int(row["count"]) if row is not None else 0


def _run(row: RowMapping) -> Run:
    progress = row["progress"]
    return Run(
        id=row["id"],
        kind=row["kind"],
        status=Status(row["status"]),
        request=row["request"],
        progress=None if progress is None else Progress(**progress),
        result=row["result"],
        error=row["error"],
        artefacts=[Artefact(**item) for item in row["artefacts"]],
        attempts=row["attempts"],
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )
