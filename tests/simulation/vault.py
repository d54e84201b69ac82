"""The database in memory: tables, transactions that happen as a whole or not at all, and a wire to
them that can be cut before the commit, after it, or for a while."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import TextClause
from sqlalchemy.exc import IntegrityError

from libs.common.contracts.channels import Channel
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import Payload
from libs.common.kernel.clock import Clock
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import Bell
from tests.simulation.tables import Row, Table, Tables
from tests.simulation.trace import Trace

T = TypeVar("T")
Key = Any


class Transaction:
    """One transaction: what it wrote is taken back if it fails."""

    __slots__ = ("_clock", "_ledger", "_undo", "ids", "note", "sources", "tables")

    def __init__(
        self, tables: Tables, clock: Clock, ids: IdSource, note: Callable[..., None]
    ) -> None:
        self.tables = tables
        self._clock = clock
        self.note = note
        self.ids = ids
        self.sources: set[str] = set()  # who has told something by it
        self._undo: list[tuple[Table[Key, Any], Key, Any]] = []
        ledger = tables.ledger
        self._ledger = ledger.balances, ledger.transfers, ledger._open

    @property
    def now(self) -> dt.datetime:
        """When it happens: all of it at one instant."""
        return self._clock.now()

    @property
    def writes(self) -> bool:
        """Whether it has written a row."""
        return bool(self._undo)

    def put(self, table: Table[Key, Any], key: Key, row: Any) -> None:
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
            ts_ns=self._clock.now_ns(),
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
                del table[key]
            else:
                table[key] = row
        ledger = self.tables.ledger
        ledger.balances, ledger.transfers, ledger._open = self._ledger


class Server:
    """The database server. Work is done on it at one instant, as a transaction."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        dice: Dice,
        weather: Weather,
        trace: Trace,
        clock: Clock,
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
        # Rung when a source has told something.
        self.bells: defaultdict[str, Bell] = defaultdict(lambda: Bell(loop))

    def carry_out(self, work: Callable[[Transaction], T]) -> T:
        """Do `work` now, all of it or nothing."""
        tx = Transaction(self.tables, self._clock, self._ids, self._trace.note)
        try:
            done = work(tx)
        except BaseException:
            tx.roll_back()
            raise
        if tx.writes:
            for callback in self.on_commit:
                callback(tx)
            for source in tx.sources:
                self.bells[source].ring()
        return done

    async def ask(
        self, what: str, work: Callable[[Transaction], T], fence: tuple[str, int] | None = None
    ) -> T:
        """Have `work` done at the server and return its answer.

        With a `fence` (service, epoch) it is refused where somebody else has taken the desk.

        Raises UnavailableError when the way there or back is cut: whether it was done is then
        unknown. What was sent is done even if the asker dies meanwhile.
        """
        dice, weather = self._dice, self._weather
        there, back = dice.latency(), dice.latency()
        if dice.chance(weather.store_slow):
            there += dice.between(0.01, 2.0)
        refused = dice.chance(weather.store_refused)
        lost = dice.chance(weather.store_answer_lost)
        answer: asyncio.Future[T] = self._loop.create_future()

        def arrive() -> None:
            error, value = None, None
            if refused or self._loop.time() < self.down_until:
                self._trace.note("store.refused", what)
                error = _unavailable("refused by the simulation")
            elif fence is not None and self.desks.get(fence[0]) != fence[1]:
                self._trace.note("store.fenced", what)
                error = _unavailable("the desk is somebody else's")
            else:
                try:
                    value = self.carry_out(work)
                except Exception as failed:  # noqa: BLE001 - it is the asker's
                    error = failed
                else:
                    if lost:
                        self._trace.note("store.answer_lost", what)
                        error = _unavailable("answer lost by the simulation")
            self._loop.call_later(back, _settle, answer, error, value, context=self._context)

        self._loop.call_later(there, arrive, context=self._context)
        return await answer


def _unavailable(why: str) -> Exception:
    return UnavailableError(f"database: {why}")


def _settle(answer: asyncio.Future[Any], error: Exception | None, value: Any) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)


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
