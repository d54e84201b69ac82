"""Strategies, states and signals in PostgreSQL, written together with the outbox."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from sqlalchemy import and_, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError

from libs.common.contracts.channels import AUDIT_EVENTS, NOTIFICATIONS, SIGNALS
from libs.common.contracts.messages import Notification
from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.kernel.errors import ConflictError
from libs.common.runtime.bus import LogMessage
from libs.common.runtime.database import Database, WriteSession
from libs.common.runtime.outbox import INSERT_MESSAGES, Outbox
from libs.common.runtime.schema.strategies import strategies, strategy_states
from services.strategy_engine.configuration import Configuration, Version
from services.strategy_engine.leases import LeaseLostError
from services.strategy_engine.performance import OwnLimits
from services.strategy_engine.ports import Caused, SavedState, Told

# Of two states the newer stays.
_STATES: Final = """
    INSERT INTO strategy_states AS saved
        (strategy_id, symbol, as_of, state, layout_hash, version_hash, last_decision, bars)
    SELECT strategy_id, symbol, as_of, state, layout_hash, version_hash, last_decision, bars
    FROM json_to_recordset(CAST(:states AS json)) AS new(
        strategy_id text, symbol text, as_of timestamptz, state bytea, layout_hash text,
        version_hash text, last_decision jsonb, bars bigint)
    ON CONFLICT (strategy_id, symbol) DO UPDATE SET
        as_of = excluded.as_of, state = excluded.state, layout_hash = excluded.layout_hash,
        version_hash = excluded.version_hash, last_decision = excluded.last_decision,
        bars = excluded.bars
    WHERE saved.as_of <= excluded.as_of
    """
_SAVE_STATES: Final = text(_STATES)
# A turn in one statement: one round trip, one commit. What it writes comes as JSON, see
# INSERT_MESSAGES. A signal that is stored already is not told of again; messages that tell of no
# signal are: `about` holds pairs of a message's id and its signal's.
_SAVE_TURN: Final = text(
    f"""
    WITH fenced AS (
        SELECT strategies_fence(CAST(:fenced_ids AS text[]), CAST(:fenced_epochs AS bigint[]))
            AS held
    ), moved AS ({_STATES}), new AS (
        INSERT INTO signals (id, strategy_id, symbol, timeframe, bar_ts, ts, target, confidence,
            reference_price, stop, take_profit, limit_price, mode, features, correlation_id)
        SELECT id, strategy_id, symbol, timeframe, bar_ts, ts, target, confidence,
               reference_price, stop, take_profit, limit_price, mode, features, correlation_id
        FROM jsonb_populate_recordset(CAST(NULL AS signals), CAST(:signals AS jsonb))
        ON CONFLICT DO NOTHING RETURNING id
    ), told AS (
        {INSERT_MESSAGES}
        LEFT JOIN json_to_recordset(CAST(:about AS json))
            AS about(message_id uuid, signal_id uuid) ON about.message_id = m.id
        WHERE about.signal_id IS NULL OR about.signal_id IN (SELECT id FROM new)
        ORDER BY m.place
    )
    SELECT new.id FROM fenced LEFT JOIN new ON fenced.held WHERE fenced.held
    """  # nosec B608 # our own constants
)
# In a transaction of several statements, first of all.
FENCE: Final = text(
    "SELECT strategies_fence(CAST(:fenced_ids AS text[]), CAST(:fenced_epochs AS bigint[]))"
)
_LEASE_LOST: Final = "TW001"
_LEASE: Final = text(
    "INSERT INTO strategy_leases (strategy_id, epoch, replica) VALUES (:id, 1, :replica)"
)


class EngineBook:
    """The engine's own tables, written together with the outbox."""

    def __init__(self, database: Database, outbox: Outbox, *, replica: str) -> None:
        self._database = database
        self._outbox = outbox
        self._replica = replica

    async def seed(self, configurations: Sequence[Configuration]) -> bool:
        """Store these unless there are any."""
        async with self._database.write() as tx:
            # Two engines that start together must not both find the table empty.
            await tx.execute(text("LOCK TABLE strategies IN SHARE ROW EXCLUSIVE MODE"))
            if (await tx.execute(select(func.count()).select_from(strategies))).scalar_one():
                return False
            if configurations:
                await tx.execute(insert(strategies), [_row(item) for item in configurations])
        return True

    async def configurations(self) -> list[Configuration]:
        """Return all strategies, by id."""
        async with self._database.read() as session:
            rows = await session.rows(select(strategies).order_by(strategies.c.id))
        return [
            Configuration(
                id=row["id"],
                class_name=row["class_name"],
                version_hash=row["version_hash"],
                params=row["params"],
                universe=tuple(row["universe"]),
                timeframe=Timeframe(row["timeframe"]),
                weight=row["weight"],
                enabled=row["enabled"],
                mode=StrategyMode(row["mode"]),
                previous=Version(**row["previous"]) if row["previous"] else None,
                limits=OwnLimits.model_validate(row["limits"]),
            )
            for row in rows
        ]

    async def states(self) -> dict[tuple[str, str], SavedState]:
        """Return all saved states."""
        async with self._database.read() as session:
            rows = await session.rows(select(strategy_states))
        return {
            (row["strategy_id"], row["symbol"]): SavedState(
                strategy_id=row["strategy_id"],
                symbol=row["symbol"],
                as_of=to_ns(row["as_of"]),
                state=row["state"],
                layout_hash=row["layout_hash"],
                version_hash=row["version_hash"],
                bars=int(row["bars"]),
                last_decision=row["last_decision"],
            )
            for row in rows
        }

    async def save(
        self,
        states: Sequence[SavedState],
        signals: Sequence[Caused],
        told: Sequence[Told],
        epochs: Mapping[str, int],
    ) -> int:
        """Store states, signals and messages in one transaction; return the new signals."""
        sealed = [(caused.signal.signal_id, self._signal_message(caused)) for caused in signals]
        notices = [self._told_message(item) for item in told]
        messages = [message for _, message in sealed] + notices
        parameters = {
            "states": _state_values(states),
            **self._outbox.rows(messages),
            **fence_of(epochs),
            "signals": msgspec.json.encode([_signal_values(item) for item in signals]).decode(),
            "about": msgspec.json.encode(
                [{"message_id": told.id, "signal_id": about} for about, told in sealed]
            ).decode(),
        }
        async with fenced(), self._database.single() as tx:
            found = (await tx.execute(_SAVE_TURN, parameters)).scalars()
            new = {signal_id for signal_id in found if signal_id is not None}
            told_of = [message for signal_id, message in sealed if signal_id in new]
            self._outbox.publish_after(tx, told_of + notices)
        return len(new)

    async def set_version(self, strategy_id: str, version_hash: str) -> None:
        """Note which source a strategy now runs."""
        async with self._database.write() as tx:
            await tx.execute(
                update(strategies)
                .where(strategies.c.id == strategy_id)
                .values(version_hash=version_hash, updated_at=func.now())
            )

    async def configure(
        self,
        configuration: Configuration,
        *,
        new: bool,
        going_on: Sequence[str],
        states: Sequence[SavedState],
        told: Sequence[Told],
        epoch: int | None,
    ) -> None:
        """Store a configuration with its states; see the port."""
        forgotten = and_(
            strategy_states.c.strategy_id == configuration.id,
            strategy_states.c.symbol.not_in(going_on),
        )
        async with fenced(), self._database.write() as tx:
            if new:
                await _insert(tx, configuration)
                await tx.execute(_LEASE, {"id": configuration.id, "replica": self._replica})
            else:
                assert epoch is not None
                await tx.execute(FENCE, fence_of({configuration.id: epoch}))
                await _update(tx, configuration)
                await tx.execute(delete(strategy_states).where(forgotten))
            await _save_states(tx, states)
            await self._outbox.store(tx, [self._told_message(item) for item in told])

    def _signal_message(self, caused: Caused) -> LogMessage:
        return self._outbox.prepare(
            SIGNALS,
            caused.signal,
            correlation_id=caused.correlation_id,
            causation_id=caused.causation_id,
            key=caused.signal.strategy_id,
        )

    def _told_message(self, told: Told) -> LogMessage:
        notice = isinstance(told.payload, Notification)
        return self._outbox.prepare(
            NOTIFICATIONS if notice else AUDIT_EVENTS,
            told.payload,
            correlation_id=told.correlation_id,
            key="strategy" if notice else "",
        )


@asynccontextmanager
async def fenced() -> AsyncIterator[None]:
    """Turn the fence's refusal into LeaseLostError."""
    try:
        yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LEASE_LOST:
            raise
        raise LeaseLostError(str(error.orig).splitlines()[0]) from error


def fence_of(epochs: Mapping[str, int]) -> dict[str, object]:
    """Return the parameters of FENCE."""
    return {"fenced_ids": list(epochs), "fenced_epochs": list(epochs.values())}


async def _insert(tx: WriteSession, item: Configuration) -> None:
    statement = upsert(strategies).values(_row(item)).on_conflict_do_nothing()
    if not (await tx.execute(statement.returning(strategies.c.id))).scalars().all():
        raise ConflictError(f"a strategy has the id {item.id!r} already")


async def _update(tx: WriteSession, item: Configuration) -> None:
    statement = update(strategies).where(strategies.c.id == item.id)
    await tx.execute(statement.values(**_row(item), updated_at=func.now()))


async def _save_states(tx: WriteSession, states: Sequence[SavedState]) -> None:
    if states:
        await tx.execute(_SAVE_STATES, {"states": _state_values(states)})


def _state_values(states: Sequence[SavedState]) -> str:
    rows = [
        {
            "strategy_id": state.strategy_id,
            "symbol": state.symbol,
            "as_of": from_ns(state.as_of),
            "state": f"\\x{state.state.hex()}",
            "layout_hash": state.layout_hash,
            "version_hash": state.version_hash,
            "last_decision": state.last_decision,
            "bars": state.bars,
        }
        for state in states
    ]
    return msgspec.json.encode(rows).decode()


def _signal_values(caused: Caused) -> dict[str, object]:
    signal = caused.signal
    return {
        "id": signal.signal_id,
        "strategy_id": signal.strategy_id,
        "symbol": signal.symbol,
        "timeframe": signal.timeframe,
        "bar_ts": signal.bar_ts,
        "ts": signal.ts_event,
        "target": signal.target,
        "confidence": signal.confidence,
        "reference_price": signal.reference_price,
        "stop": signal.stop,
        "take_profit": signal.take_profit,
        "limit_price": signal.limit,
        "mode": signal.mode.value,
        "features": signal.features,
        "correlation_id": caused.correlation_id,
    }


def _row(item: Configuration) -> dict[str, object]:
    return {
        "id": item.id,
        "class_name": item.class_name,
        "version_hash": item.version_hash,
        "params": dict(item.params),
        "universe": list(item.universe),
        "timeframe": item.timeframe.value,
        "weight": item.weight,
        "enabled": item.enabled,
        "mode": item.mode.value,
        "limits": item.limits.model_dump(mode="json", exclude_none=True),
        "previous": dataclasses.asdict(item.previous) if item.previous else None,
    }
