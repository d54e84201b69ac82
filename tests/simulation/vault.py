"""The database in memory: tables, transactions that happen as a whole or not at all, and a wire to
them that can be cut before the commit, after it, or for a while."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import TextClause
from sqlalchemy.exc import IntegrityError

from libs.common.contracts.channels import Channel
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import Payload
from libs.common.domain.executions import Execution
from libs.common.domain.ledger import Ledger
from libs.common.domain.positions import Position
from libs.common.domain.replay import Change
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource
from services.risk_manager.desk import Switch
from services.risk_manager.limits import LimitKey
from services.risk_manager.ports import Assessment, Valuation
from services.trade_executor.closing import Closing
from services.trade_executor.ports import OpenDiscrepancy, ReconciliationRun
from services.trade_executor.trigger import Trigger
from tests.simulation.dice import Dice, Weather
from tests.simulation.trace import Trace

T = TypeVar("T")
Key = Any


@dataclass
class Row:
    """A message of the outbox. `epoch` is the life of the bus that it was published in, `acked_at`
    holds when each acting group was done with it; once confirmed it is not told again."""

    id: UUID
    source: str
    channel: Channel
    data: bytes
    epoch: int = -1
    confirmed: bool = False
    acked_at: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BookedTrade:
    """A row of `trades`."""

    id: UUID
    order_id: UUID
    execution: Execution
    booked_at: dt.datetime
    strategy_id: str | None
    realized_pnl: Decimal
    entry: int = 0
    replaces: bool = False


@dataclass(frozen=True)
class BookedReversal:
    """A row of `trade_reversals`; without a trade where it was taken back before it was booked."""

    id: UUID
    trade: BookedTrade | None
    booked_at: dt.datetime
    record_id: str | None


@dataclass(frozen=True)
class BookedChange:
    """A row of `position_changes`: shares that moved without a trade."""

    id: UUID
    symbol: str
    after_entry: int
    change: Change
    parts: Sequence[tuple[str | None, Decimal]]
    booked_at: dt.datetime


@dataclass
class Tables:
    """Everything that is durable. Rows are replaced, never changed, so that undoing is easy.
    `triggers`: whether the tables have theirs; a planted bug takes them away."""

    triggers: bool = True
    orders: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    trades: dict[str, BookedTrade] = field(default_factory=dict)
    reversals: dict[str, BookedReversal] = field(default_factory=dict)
    changes: dict[UUID, BookedChange] = field(default_factory=dict)
    activities: dict[UUID, str] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)
    outbox: dict[UUID, Row] = field(default_factory=dict)
    runs: dict[UUID, ReconciliationRun] = field(default_factory=dict)
    discrepancies: dict[UUID, OpenDiscrepancy] = field(default_factory=dict)
    resolved: dict[UUID, str] = field(default_factory=dict)
    closings: dict[UUID, Closing] = field(default_factory=dict)
    triggers_kept: dict[UUID, Trigger] = field(default_factory=dict)
    switch: dict[str, Switch] = field(default_factory=dict)
    limits: dict[LimitKey, Decimal] = field(default_factory=dict)
    assessments: dict[UUID, Assessment] = field(default_factory=dict)
    valuations: dict[dt.datetime, Valuation] = field(default_factory=dict)

    def standing(self) -> list[BookedTrade]:
        """Return the booked executions that were not taken back."""
        gone = self.reversals
        return [trade for name, trade in self.trades.items() if name not in gone]


class Transaction:
    """One transaction: what it wrote is taken back if it fails."""

    def __init__(
        self,
        tables: Tables,
        now: dt.datetime,
        now_ns: int,
        ids: IdSource,
        note: Callable[..., None],
    ) -> None:
        self.tables = tables
        self.now = now
        self.note = note
        self.now_ns = now_ns
        self.ids = ids
        self.sources: set[str] = set()  # who has told something by it
        self._undo: list[tuple[dict[Key, Any], Key, Any]] = []
        ledger = tables.ledger
        self._ledger = ledger.balances, ledger.transfers, ledger._open

    def put(self, table: dict[Key, Any], key: Key, row: Any) -> None:
        """Write one row."""
        self._undo.append((table, key, table.get(key)))
        table[key] = row

    def tell(
        self,
        source: str,
        channel: Channel,
        payload: Payload,
        correlation_id: UUID,
        causation_id: UUID | None = None,
        message_id: UUID | None = None,
    ) -> None:
        """Write one message."""
        message_id = message_id or self.ids.new()
        sealed = seal(
            payload,
            message_id=message_id,
            ts_ns=self.now_ns,
            source=source,
            correlation_id=correlation_id,
            causation_id=causation_id,
        )
        if message_id in self.tables.outbox:
            why = Exception(f"uq_outbox_id: {message_id} is told already")
            raise IntegrityError("outbox", {}, why)
        self.sources.add(source)
        self.put(self.tables.outbox, message_id, Row(message_id, source, channel, encode(sealed)))

    def roll_back(self) -> None:
        """Take everything back."""
        for table, key, row in reversed(self._undo):
            if row is None:
                table.pop(key, None)
            else:
                table[key] = row
        ledger = self.tables.ledger
        ledger.balances, ledger.transfers, ledger._open = self._ledger


def unresolved(tx: Transaction) -> list[OpenDiscrepancy]:
    """Return the discrepancies that stand open."""
    tables = tx.tables
    return [one for one in tables.discrepancies.values() if one.id not in tables.resolved]


class Server:
    """The database server. Work is done on it at one instant, as a transaction."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dice: Dice,
        weather: Weather,
        trace: Trace,
        clock: Any,
        ids: IdSource,
        context: Any,
    ) -> None:
        self.tables = Tables()
        self.down_until = 0.0
        self.desks: dict[str, int] = {}
        self._loop = loop
        self._dice = dice
        self._weather = weather
        self._trace = trace
        self._clock = clock
        self._ids = ids
        self._context = context
        self.on_commit: list[Callable[[Transaction], None]] = []

    def carry_out(self, work: Callable[[Transaction], T]) -> T:
        """Do `work` now, all of it or nothing."""
        tx = Transaction(
            self.tables, self._clock.now(), self._clock.now_ns(), self._ids, self._trace.note
        )
        try:
            done = work(tx)
        except BaseException:
            tx.roll_back()
            raise
        if tx._undo:
            for callback in self.on_commit:
                callback(tx)
        return done

    async def ask(
        self, what: str, work: Callable[[Transaction], T], fence: tuple[str, int] | None = None
    ) -> T:
        """Have `work` done at the server and return its answer.

        With a `fence` (service, epoch) it is refused where somebody else has taken the desk.

        Raises UnavailableError when the way there or back is cut: whether it was done is then
        unknown. What was sent is done even if the asker dies meanwhile.
        """
        loop, dice, weather = self._loop, self._dice, self._weather
        answer: asyncio.Future[T] = loop.create_future()
        there, back = dice.latency(), dice.latency()
        if dice.chance(weather.store_slow):
            there += dice.between(0.01, 2.0)
        refused = dice.chance(weather.store_refused)
        lost = dice.chance(weather.store_answer_lost)

        def settle(error: BaseException | None, value: Any) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)

        def reply(error: BaseException | None, value: Any = None) -> None:
            loop.call_later(back, settle, error, value, context=self._context)

        def arrive() -> None:
            if refused or loop.time() < self.down_until:
                self._trace.note("store.refused", what)
                reply(UnavailableError("database: refused by the simulation"))
                return
            if fence is not None and self.desks.get(fence[0]) != fence[1]:
                self._trace.note("store.fenced", what)
                reply(UnavailableError("database: the desk is somebody else's"))
                return
            try:
                value = self.carry_out(work)
            except Exception as error:  # noqa: BLE001 - it is the asker's
                reply(error)
                return
            if lost:
                self._trace.note("store.answer_lost", what)
                reply(UnavailableError("database: answer lost by the simulation"))
            else:
                reply(None, value)

        loop.call_later(there, arrive, context=self._context)
        return await answer


class Session:
    """What the group commit writes through: one statement, which is its own transaction."""

    def __init__(self, database: SimDatabase, functions: dict[str, Callable[..., Any]]) -> None:
        self._database = database
        self._functions = functions

    async def row(self, statement: TextClause, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call the server-side function that the statement names, and read the kill switch."""
        words = statement.text
        name = next((one for one in self._functions if one in words), None)
        assert name is not None, f"the simulated database cannot carry out: {words}"
        function = self._functions[name]
        batch, lift = parameters["batch"], parameters["lift"]

        def call(tx: Transaction) -> dict[str, Any]:
            written = function(tx, batch, lift)
            switch = tx.tables.switch.get(parameters["account"])
            state, generation = (switch.state, switch.generation) if switch else (None, None)
            return {
                "written": written, "state": state, "generation": generation, "flatten": False,
            }  # fmt: skip

        return await self._database.ask(name, call)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Messages are published by their own task, which looks after every commit."""


class SimDatabase:
    """One process's way to the server: what `Database` is, with `ask` in the place of SQL."""

    def __init__(
        self, server: Server, service: str, functions: dict[str, Callable[..., Any]]
    ) -> None:
        self._server = server
        self._service = service
        self._functions = functions
        self._epoch: int | None = None

    @property
    def fence(self) -> dict[str, Any]:
        """The parameters of the fence."""
        return {"desk_service": self._service, "desk_account": "main", "desk_epoch": self._epoch}

    async def take_desk(self) -> None:
        """Take the desk: whatever an earlier life has under way is refused from now on."""
        epoch = self._server.desks.get(self._service, 0) + 1

        def take(tx: Transaction) -> None:
            self._server.desks[self._service] = epoch

        await self._server.ask("desk_take", take)
        self._epoch = epoch

    async def ask(self, what: str, work: Callable[[Transaction], T]) -> T:
        """Have `work` done at the server. Raises UnavailableError."""
        fence = None if self._epoch is None else (self._service, self._epoch)
        return await self._server.ask(what, work, fence)

    @asynccontextmanager
    async def single(self) -> AsyncIterator[Session]:
        """Open a session for one statement."""
        yield Session(self, self._functions)


class SimOutbox:
    """Stands where `Outbox` does for the group commit: the server has stored the messages."""

    def publish_after(self, tx: Session, messages: Any) -> None:
        """Nothing is left to do."""
