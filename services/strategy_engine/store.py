"""Strategies, states and signals in PostgreSQL, written together with the outbox."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from libs.common.contracts.channels import AUDIT_EVENTS, NOTIFICATIONS, SIGNALS
from libs.common.contracts.messages import Notification
from libs.common.domain.timeframes import Timeframe
from libs.common.domain.vocabulary import StrategyMode
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.kernel.errors import ConflictError
from libs.common.runtime.bus import LogMessage
from libs.common.runtime.database import Database, WriteSession
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.schema.strategies import signals as signal_table
from libs.common.runtime.schema.strategies import strategies, strategy_states
from services.strategy_engine.configuration import Configuration
from services.strategy_engine.ports import Caused, SavedState, Told

# A statement has at most 65 535 parameters.
_SIGNALS_MAX: Final = 1000
# One statement for all states of a turn; an older state never overwrites a newer one.
_SAVE_STATES: Final = text(
    """
    INSERT INTO strategy_states AS saved
        (strategy_id, symbol, as_of, state, layout_hash, version_hash, last_decision, bars)
    SELECT strategy_id, symbol, as_of, state, layout_hash, version_hash,
           CAST(last_decision AS jsonb), bars
    FROM unnest(
        CAST(:strategy_ids AS text[]), CAST(:symbols AS text[]), CAST(:as_of AS timestamptz[]),
        CAST(:states AS bytea[]), CAST(:layouts AS text[]), CAST(:versions AS text[]),
        CAST(:decisions AS text[]), CAST(:bars AS bigint[])
    ) AS new(strategy_id, symbol, as_of, state, layout_hash, version_hash, last_decision, bars)
    ON CONFLICT (strategy_id, symbol) DO UPDATE SET
        as_of = excluded.as_of, state = excluded.state, layout_hash = excluded.layout_hash,
        version_hash = excluded.version_hash, last_decision = excluded.last_decision,
        bars = excluded.bars
    WHERE saved.as_of <= excluded.as_of
    """
)


class EngineBook:
    """The engine's own tables, written together with the outbox."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

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
        self, states: Sequence[SavedState], signals: Sequence[Caused], told: Sequence[Told]
    ) -> int:
        """Store states, signals and messages in one transaction; return the new signals."""
        async with self._database.write() as tx:
            await _save_states(tx, states)
            new = await _insert_signals(tx, signals)
            messages = [self._signal_message(caused) for caused in new]
            messages += [self._told_message(item) for item in told]
            await self._outbox.store(tx, messages)
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
        told: Told,
    ) -> None:
        """Store a configuration with its states; see the port."""
        forgotten = and_(
            strategy_states.c.strategy_id == configuration.id,
            strategy_states.c.symbol.not_in(going_on),
        )
        async with self._database.write() as tx:
            if new:
                await _insert(tx, configuration)
            else:
                await _update(tx, configuration)
                await tx.execute(delete(strategy_states).where(forgotten))
            await _save_states(tx, states)
            await self._outbox.store(tx, [self._told_message(told)])

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


async def _insert(tx: WriteSession, item: Configuration) -> None:
    statement = upsert(strategies).values(_row(item)).on_conflict_do_nothing()
    if not (await tx.execute(statement.returning(strategies.c.id))).scalars().all():
        raise ConflictError(f"a strategy has the id {item.id!r} already")


async def _update(tx: WriteSession, item: Configuration) -> None:
    statement = update(strategies).where(strategies.c.id == item.id)
    await tx.execute(statement.values(**_row(item), updated_at=func.now()))


async def _save_states(tx: WriteSession, states: Sequence[SavedState]) -> None:
    if not states:
        return
    await tx.execute(
        _SAVE_STATES,
        {
            "strategy_ids": [state.strategy_id for state in states],
            "symbols": [state.symbol for state in states],
            "as_of": [from_ns(state.as_of) for state in states],
            "states": [state.state for state in states],
            "layouts": [state.layout_hash for state in states],
            "versions": [state.version_hash for state in states],
            "decisions": [json.dumps(state.last_decision) for state in states],
            "bars": [state.bars for state in states],
        },
    )


async def _insert_signals(tx: WriteSession, signals: Sequence[Caused]) -> list[Caused]:
    inserted: set[uuid.UUID] = set()
    for start in range(0, len(signals), _SIGNALS_MAX):
        rows = _signal_values(signals[start : start + _SIGNALS_MAX])
        statement = upsert(signal_table).values(rows).on_conflict_do_nothing()
        inserted |= set((await tx.execute(statement.returning(signal_table.c.id))).scalars())
    return [caused for caused in signals if caused.signal.signal_id in inserted]


def _signal_values(signals: Sequence[Caused]) -> list[dict[str, object]]:
    return [
        {
            "id": caused.signal.signal_id,
            "strategy_id": caused.signal.strategy_id,
            "symbol": caused.signal.symbol,
            "timeframe": caused.signal.timeframe,
            "bar_ts": caused.signal.bar_ts,
            "ts": caused.signal.ts_event,
            "target": caused.signal.target,
            "confidence": caused.signal.confidence,
            "reference_price": caused.signal.reference_price,
            "stop": caused.signal.stop,
            "take_profit": caused.signal.take_profit,
            "limit_price": caused.signal.limit,
            "mode": caused.signal.mode.value,
            "features": caused.signal.features,
            "correlation_id": caused.correlation_id,
        }
        for caused in signals
    ]


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
    }
