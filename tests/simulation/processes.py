"""The simulated processes: the services' real parts, wired as their `main.py` wires them, over the
simulated database, bus and broker. Each can be killed at any instant and started again."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from libs.common.contracts.channels import (
    COMMANDS,
    MARKET_DATA,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    POSITIONS_CHANGED,
    SIGNALS,
    SYSTEM_HEALTH,
    TRADES_EXECUTED,
    TRADES_REVERSED,
)
from libs.common.contracts.risk_api import (
    CLOSING,
    AssessmentReply,
    AssessmentRequest,
    OrderFields,
)
from libs.common.domain.vocabulary import TradingState
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.heartbeat import beat
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.runtime import Runtime, supervise
from services.risk_manager import feeds, handlers, upkeep
from services.risk_manager.book import Book
from services.risk_manager.desk import Desk, Switch
from services.risk_manager.handlers import Office, judge_request
from services.risk_manager.limits import LimitBook, defaults
from services.risk_manager.settings import RiskSettings
from services.trade_executor.assembly import (
    Executor,
    assemble,
    closings_of,
    guard_of,
    triggers_of,
)
from services.trade_executor.closings import Closings
from services.trade_executor.protection import ProtectionDesk
from services.trade_executor.settings import ExecutorSettings
from services.trade_executor.triggers import Triggers
from tests.simulation.loop import LIFE, Life
from tests.simulation.server_side import FUNCTIONS
from tests.simulation.sim_books import SimBooks
from tests.simulation.sim_broker import SimBroker
from tests.simulation.sim_desks import SimClosingStore, SimTriggerStore
from tests.simulation.sim_protection import SimProtectionStore
from tests.simulation.sim_risk import SimMarket, SimRiskStore
from tests.simulation.vault import SimDatabase, SimOutbox

if TYPE_CHECKING:
    from tests.simulation.world import World

EXECUTOR = "trade_executor"
RISK = "risk_manager"
EXECUTOR_SETTINGS = ExecutorSettings(broker_key="sim", broker_secret="sim")
RISK_SETTINGS = RiskSettings()

Work = Callable[[], Coroutine[Any, Any, None]]


class Process:
    """One service: a life at a time."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.life: Life | None = None
        self._lives = 0
        self.readiness = Readiness()

    @property
    def alive(self) -> bool:
        """Tell whether a life is under way."""
        return self.life is not None and not self.life.dead

    def start(self) -> None:
        """Begin a life."""
        assert not self.alive
        self._lives += 1
        self.life = Life(self.name, self._lives)
        self.world.trace.note("process.start", self.life)
        self.readiness = Readiness()
        self.spawn(self._run())

    def kill(self, why: str) -> None:
        """End the life as SIGKILL does: nothing of it runs again."""
        if not self.alive:
            return
        assert self.life is not None
        self.life.dead = True
        self.world.trace.note("process.killed", self.life, why)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine within the life."""
        context = contextvars.Context()
        context.run(LIFE.set, self.life)
        return self.world.loop.create_task(work, context=context)

    def runtime(self, settings: Any) -> Runtime:
        """Return the surroundings of a life."""
        world = self.world
        return Runtime(
            name=self.name, settings=settings, clock=world.clock, market_clock=world.clock,
            ids=world.ids, database=SimDatabase(world.server, self.name, FUNCTIONS), bus=world.bus,
            outbox=SimOutbox(), readiness=self.readiness, started_at=world.clock.now(),
            # Nobody calls over HTTP here, and nobody asks who calls.
            gate=None, keys=None, tokens=None,
        )  # type: ignore[arg-type]  # fmt: skip

    async def _run(self) -> None:
        raise NotImplementedError

    async def _live(self, runtime: Runtime, start: Work, works: dict[str, Work]) -> None:
        """Start, then run the parts for ever: what `create_app` does."""
        create = asyncio.get_running_loop().create_task
        kept = [create(self.world.bus.pump(self.name)), create(self._beat(runtime))]

        async def begin() -> None:
            await runtime.database.take_desk()  # type: ignore[attr-defined]
            await start()

        await supervise("start", begin, runtime.readiness)
        runtime.readiness.clear("start")
        self.world.trace.note("process.ready", self.life)
        kept += [create(supervise(name, one, runtime.readiness)) for name, one in works.items()]
        await asyncio.gather(*kept)

    async def _beat(self, runtime: Runtime) -> None:
        await beat(runtime)

    def _consumer(self, channel: Any, handle: Any, batch: int = 64) -> Work:
        return partial(self.world.bus.consume, channel, self.name, handle, batch)

    def _listener(self, channel: Any, handle: Callable[[Any], Awaitable[None]]) -> Work:
        return partial(self.world.bus.listen, channel, handle)


class ExecutorProcess(Process):
    """`trade_executor`."""

    def __init__(self, world: World) -> None:
        super().__init__(world, EXECUTOR)
        self.executor: Executor | None = None
        self.closings: Closings | None = None
        self.triggers: Triggers | None = None
        self.guard: ProtectionDesk | None = None
        self.protections: SimProtectionStore | None = None

    async def _run(self) -> None:
        world = self.world
        runtime = self.runtime(EXECUTOR_SETTINGS)
        books = world.make_books(
            SimBooks(
                runtime,
                batch_max=EXECUTOR_SETTINGS.batch_max,
                margin=EXECUTOR_SETTINGS.margin,
                shorting=EXECUTOR_SETTINGS.shorting,
            )
        )
        broker = world.make_broker(
            SimBroker(
                world.loop, world.dice, world.weather, world.trace, world.venue, world.context
            )
        )
        executor = assemble(runtime, EXECUTOR_SETTINGS, books, broker, SimRiskDesk(world))
        triggers = triggers_of(
            runtime, EXECUTOR_SETTINGS, executor, SimTriggerStore(runtime.database, world.clock)
        )
        closings = closings_of(
            runtime, EXECUTOR_SETTINGS, executor, SimClosingStore(runtime.database), broker,
            SimRiskDesk(world, source=CLOSING),
        )  # fmt: skip
        self.executor, self.closings, self.triggers = executor, closings, triggers
        works: dict[str, Work] = {}
        if world.guarded:
            self.protections = SimProtectionStore(runtime.database)
            self.guard = guard_of(
                runtime, EXECUTOR_SETTINGS, executor, self.protections,
                SimClosingStore(runtime.database), broker,
            )  # fmt: skip
            works["protection"] = self.guard.run
        books.committer.carry(executor.gate)
        hands = executor.handlers

        async def start() -> None:
            for begin in (
                triggers.load, executor.watch.start, triggers.begin, closings.resume
            ):  # fmt: skip
                await begin()

        await self._live(
            runtime,
            start,
            {
                "triggers": self._listener(MARKET_DATA, triggers.hear),
                "trigger expiry": triggers.expire,
                "closings": closings.follow,
                "approved": self._consumer(ORDERS_APPROVED, hands.on_approved),
                "commands": self._consumer(COMMANDS, hands.on_commands),
                "health": self._listener(SYSTEM_HEALTH, hands.on_heartbeat),
                "broker stream": executor.follower.run,
                "kill switch": executor.watch.follow_gate,
                "open orders": executor.watch.follow_orders,
                "books": executor.watch.follow_books,
                **works,
            },
        )


class RiskProcess(Process):
    """`risk_manager`."""

    def __init__(self, world: World) -> None:
        super().__init__(world, RISK)
        self.office: Office | None = None

    async def _run(self) -> None:
        world, settings = self.world, RISK_SETTINGS
        runtime = self.runtime(settings)
        store = SimRiskStore(
            runtime.database, settings.account_id, world.symbols, world.quoted,
            grace_s=settings.risk_reservation_grace_s,
        )  # fmt: skip
        book = Book({})
        closed = Switch(TradingState.HALTED, 0, "not started", RISK, runtime.started_at)
        desk = Desk(settings.account_id, book._instruments, book, LimitBook(defaults()), closed)  # type: ignore[arg-type]
        office = Office(
            desk, store, store, SimMarket(world.clock), world.clock, world.ids, settings
        )
        self.office = office
        logs = (SIGNALS, handlers.HANDLERS), (ORDERS_EVENTS, feeds.HANDLERS), (
            TRADES_EXECUTED, feeds.HANDLERS,
        ), (TRADES_REVERSED, feeds.HANDLERS), (POSITIONS_CHANGED, feeds.HANDLERS)  # fmt: skip
        works: dict[str, Work] = {
            channel.topic: self._consumer(channel, partial(table[channel], office), 128)  # type: ignore[index]
            for channel, table in logs
        }
        works["market"] = self._listener(MARKET_DATA, partial(feeds.take_market, office))
        for name, delay_s, work in (
            ("sweep", 1.0, upkeep.sweep),
            ("refresh", settings.risk_refresh_s, upkeep.refresh),
            ("watch", settings.risk_watch_s, upkeep.watch),
        ):
            works[name] = partial(_repeated, delay_s, partial(work, office))
        await self._live(runtime, partial(upkeep.rebuild, office), works)


async def _repeated(delay_s: float, work: Work) -> None:
    while True:
        await work()
        await asyncio.sleep(delay_s)


class SimRiskDesk:
    """Implements `RiskDesk`: HTTP to the risk manager, with its time-out."""

    def __init__(self, world: World, source: str = "manual") -> None:
        self._world = world
        self._source = source

    async def assess(
        self,
        request_id: UUID,
        fields: OrderFields,
        *,
        correlation_id: UUID,
        replaces: UUID | None = None,
    ) -> AssessmentReply:
        """Return its verdict. Raises UnavailableError when it is away or late."""
        world, loop = self._world, self._world.loop
        timeout_s = EXECUTOR_SETTINGS.risk_timeout_s
        answer: asyncio.Future[AssessmentReply] = loop.create_future()
        request = AssessmentRequest(
            request_id=request_id, account_id="main", order=fields, correlation_id=correlation_id,
            replaces=replaces, source=self._source,
            deadline=world.clock.now() + world.seconds(timeout_s),
        )  # fmt: skip

        def settle(done: asyncio.Task[AssessmentReply]) -> None:
            lost = world.dice.chance(world.weather.risk_unreachable)
            if not lost and not answer.done() and not done.cancelled():
                if done.exception() is None:
                    answer.set_result(done.result())
                else:
                    answer.set_exception(UnavailableError(f"risk manager: {done.exception()}"))

        def arrive() -> None:
            risk = world.risk
            if risk.alive and risk.office is not None:
                task = risk.spawn(judge_request(risk.office, request, correlation_id))
                task.add_done_callback(settle, context=world.context)

        if not world.dice.chance(world.weather.risk_unreachable):
            loop.call_later(world.dice.latency(), arrive, context=world.context)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise UnavailableError("risk manager: no answer in time") from error
