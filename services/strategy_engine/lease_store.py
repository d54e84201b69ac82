"""Leases in PostgreSQL, by its clock alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text

from libs.common.runtime.database import Database
from services.strategy_engine.leases import Lease, Plan, spread

# One replica at a time looks and takes; a taking waits for writes that have passed the fence.
_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('strategy_leases', 0))")
_SEEN: Final = text(
    """
    INSERT INTO engine_replicas (replica, url, seen_at) VALUES (:me, :url, clock_timestamp())
    ON CONFLICT (replica) DO UPDATE SET url = excluded.url, seen_at = excluded.seen_at
    """
)
_LIVE: Final = text(
    """
    SELECT replica, url FROM engine_replicas
    WHERE seen_at > clock_timestamp() - make_interval(secs => :lease_s)
    """
)
_FORGET: Final = text(
    """
    DELETE FROM engine_replicas r WHERE seen_at < clock_timestamp() - interval '1 day'
    """
)
_LEASES: Final = text(
    """
    SELECT s.id, l.replica FROM strategies s LEFT JOIN strategy_leases l ON l.strategy_id = s.id
    ORDER BY s.id
    """
)
_WAIT: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('strategy_lease:' || :id, 0))")
_TAKE: Final = text(
    """
    INSERT INTO strategy_leases AS l (strategy_id, epoch, replica, taken_at)
    VALUES (:id, 1, :holder, clock_timestamp())
    ON CONFLICT (strategy_id) DO UPDATE SET
        epoch = l.epoch + 1, replica = excluded.replica, taken_at = excluded.taken_at
    """
)
_HELD: Final = text("SELECT strategy_id, epoch FROM strategy_leases WHERE replica = :me")
_RELEASE: Final = text(
    "UPDATE strategy_leases SET epoch = epoch + 1, replica = NULL WHERE replica = :me"
)
_GONE: Final = text("DELETE FROM engine_replicas WHERE replica = :me")


class LeaseTable:
    """The leases as this replica sees them; whoever has not been seen for `lease_s` is dead."""

    def __init__(self, database: Database, *, replica: str, url: str, lease_s: float) -> None:
        self._database = database
        self._me = {"me": replica, "url": url}
        self._lease = {"lease_s": lease_s}

    async def begin(self) -> None:
        """Raise the epochs of what this replica held before it was started again."""
        async with self._database.write() as tx:
            await tx.execute(_ALONE)
            for row in await tx.rows(_HELD, self._me):
                await tx.execute(_WAIT, {"id": row["strategy_id"]})
            await tx.execute(_RELEASE, self._me)

    async def renew(self) -> Plan:
        """Say that this replica lives, take its share of what is free, return what was taken and
        what is to be given. Raises UnavailableError."""
        async with self._database.write() as tx:
            await tx.execute(_ALONE)
            await tx.execute(_SEEN, self._me)
            await tx.execute(_FORGET)
            live = {row["replica"] for row in await tx.rows(_LIVE, self._lease)}
            rows = await tx.rows(_LEASES)
            leases = [
                Lease(row["id"], row["replica"] if row["replica"] in live else None) for row in rows
            ]
            plan = spread(leases, live, self._me["me"])
            for strategy_id in plan.take:
                await tx.execute(_WAIT, {"id": strategy_id})
                await tx.execute(_TAKE, {"id": strategy_id, "holder": self._me["me"]})
        return plan

    async def held(self) -> dict[str, int]:
        """Return the epochs of this replica's strategies."""
        async with self._database.read() as session:
            rows = await session.rows(_HELD, self._me)
        return {row["strategy_id"]: int(row["epoch"]) for row in rows}

    async def give(self, receivers: Mapping[str, str]) -> None:
        """Hand strategies over; what this replica still writes of them is refused."""
        async with self._database.write() as tx:
            await tx.execute(_ALONE)
            held = {row["strategy_id"] for row in await tx.rows(_HELD, self._me)}
            for strategy_id, receiver in sorted(receivers.items()):
                if strategy_id in held:
                    await tx.execute(_WAIT, {"id": strategy_id})
                    await tx.execute(_TAKE, {"id": strategy_id, "holder": receiver})

    async def leases(self) -> dict[str, Lease]:
        """Return all strategies with their live holders."""
        async with self._database.read() as session:
            live = {row["replica"]: row["url"] for row in await session.rows(_LIVE, self._lease)}
            rows = await session.rows(_LEASES)
        return {
            row["id"]: Lease(row["id"], row["replica"], live[row["replica"]])
            if row["replica"] in live
            else Lease(row["id"], None)
            for row in rows
        }

    async def peers(self) -> dict[str, str]:
        """Return the addresses of the other live replicas, by name."""
        async with self._database.read() as session:
            rows = await session.rows(_LIVE, self._lease)
        return {row["replica"]: row["url"] for row in rows if row["replica"] != self._me["me"]}

    async def release(self) -> None:
        """Let go of everything; the last act at shutdown."""
        async with self._database.write() as tx:
            await tx.execute(_ALONE)
            await tx.execute(_RELEASE, self._me)
            await tx.execute(_GONE, self._me)
