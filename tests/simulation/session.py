"""What the people, strategies, the market and bad luck do in a session, step by step."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from libs.common.contracts.channels import (
    COMMANDS,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    POSITIONS_CHANGED,
    SIGNALS,
    TRADES_EXECUTED,
    TRADES_REVERSED,
)
from libs.common.contracts.messages import Command, OrderSpec, Signal
from libs.common.contracts.risk_api import OrderFields
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import OrderType, Side, StrategyMode, TradingState
from libs.common.kernel.errors import TradewindError, UnavailableError
from libs.common.kernel.ids import Symbol
from services.risk_manager.controls import set_state
from services.trade_executor.amending import AmendFields
from services.trade_executor.closing import CloseFields
from services.trade_executor.model import Change
from services.trade_executor.ports import BrokerRefusedError
from services.trade_executor.protection_store import BY_HAND, Protection
from services.trade_executor.trigger import TriggerFields
from tests.simulation.dice import Dice, Weather
from tests.simulation.invariants import Invariants, Violation
from tests.simulation.loop import Stalled
from tests.simulation.sim_protection import exits_of
from tests.simulation.trace import Trace, listen
from tests.simulation.venue import ENDED
from tests.simulation.world import SYMBOLS, World

STRATEGIES = ("sma_cross", "rsi_reversion")
_REST_S_MAX = 400.0
_PATIENCE_S = 2.0


@dataclass
class Outcome:
    """How a session ended; `trace` tells the rest when it is asked."""

    seed: int
    trace: Trace
    virtual_s: float
    handles: int
    weather: str
    violation: str | None = None
    guarded: bool = False

    @property
    def digest(self) -> str:
        """What is the same only if the same has happened."""
        return self.trace.digest

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of thing has happened."""
        return self.trace.counts

    @property
    def lines(self) -> list[str]:
        """What has happened, line by line."""
        return self.trace.lines


class Session:
    """One world and what is done to it."""

    def __init__(self, world: World, steps: int) -> None:
        self.world = world
        self.steps = steps
        self.signals: list[UUID] = []
        self.answered: set[UUID] = set()
        self.minute = 0
        self._amendments = self._closes = self._triggers = 0
        self._asks: list[asyncio.Task[None]] = []
        self.invariants = Invariants(self)
        self._acts: list[tuple[int, str, Callable[[], None]]] = [
            (30, "signal", self._signal),
            (20, "order", self._order),
            (8, "cancel", self._cancel),
            (10, "amend", self._amend),
            (6, "prices", self._prices),
            (2, "switch", self._switch),
            (6, "close", self._close),
            (6, "trigger", self._trigger),
            (3, "elsewhere", self._elsewhere),
            (2, "venue ends", self._venue_ends),
            (3, "cash", self._cash),
            (6, "undone", self._undone),
            (2, "split", self._split),
            (2, "command", self._command),
            (8, "fault", self._fault),
            (8, "crash", self._crash),
        ]
        if world.guarded:
            self._acts += [(12, "protect", self._protect), (2, "unprotect", self._unprotect)]
        self._hat = [act for weight, _, act in self._acts for _ in range(weight)]

    async def run(self) -> None:
        """Do everything; raises Violation."""
        world, dice = self.world, self.world.dice
        for channel, group in (
            (SIGNALS, "risk_manager"),
            (ORDERS_EVENTS, "risk_manager"),
            (TRADES_EXECUTED, "risk_manager"),
            (TRADES_REVERSED, "risk_manager"),
            (POSITIONS_CHANGED, "risk_manager"),
            (ORDERS_APPROVED, "trade_executor"),
            (COMMANDS, "trade_executor"),
        ):
            world.bus.join(channel, group)
        kept = [asyncio.create_task(world.bus.pump("strategies")),
                asyncio.create_task(world.quote())]  # fmt: skip
        await self._past()
        world.risk.start()
        world.executor.start()
        await self._settle_in()
        for _ in range(self.steps):
            await asyncio.sleep(0.0 if dice.chance(0.3) else dice.between(0.0, 1.5))
            dice.pick(self._hat)()
            await asyncio.sleep(0.0)
            self.invariants.always()
        await self._rest()
        for task in kept:
            task.cancel()

    async def _past(self) -> None:
        """In some sessions others have traded on the account before our books begin."""
        past = Dice(-1 - self.world.seed)
        if not past.chance(0.3):
            return
        for _ in range(past.whole(1, 6)):
            kind = past.pick((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT))
            symbol = past.pick(SYMBOLS)
            self.world.venue.order_from_elsewhere(
                OrderSpec(
                    symbol=symbol, side=past.pick((Side.BUY, Side.SELL)), order_type=kind,
                    quantity=Decimal(past.whole(1, 60)),
                    limit_price=self.world.venue.prices[symbol]
                    if kind is OrderType.LIMIT else None,
                )
            )  # fmt: skip
            await asyncio.sleep(past.between(0.0, 2.0))

    async def _settle_in(self) -> None:
        """Let both services begin in peace, most times; a start in a storm is a session too."""
        world = self.world
        if not world.dice.chance(0.7):
            return
        stormy = dataclasses.replace(world.weather)
        world.weather.calm()
        for _ in range(100):
            await asyncio.sleep(0.5)
            if world.executor.readiness.ready and world.risk.readiness.ready:
                break
        else:
            raise Violation("no start within 50 s of calm")
        world.weather.become(stormy)
        world.trace.note("storm")

    async def _rest(self) -> None:
        """End all faults, wait until nothing moves, then look at the whole."""
        world = self.world
        world.weather.calm()
        world.server.down_until = world.venue.down_until = 0.0
        world.trace.note("calm")
        world.venue.streams.hear_all()
        until = world.loop.time() + _REST_S_MAX
        for process in (world.executor, world.risk):
            if process.life is not None:
                process.life.fuse = -1
        why: str | None = "begun"
        while why is not None and world.loop.time() < until:
            await asyncio.sleep(2.0)
            self.invariants.always()
            why = self.invariants.unrest()
            if why is None and not all(task.done() for task in self._asks):
                why = "somebody still asks"
        if why is not None:
            raise Violation(f"no rest within {_REST_S_MAX:g} s: {why}")
        self.invariants.intents()
        self.invariants.afresh()

    # Strategies and people ----------------------------------------------------------------------

    def _signal(self) -> None:
        world, dice = self.world, self.world.dice
        self.minute += 1
        bar = world.clock.now() + world.seconds(60.0 * self.minute)
        symbol = dice.pick(SYMBOLS)
        target = dice.pick((-1.0, -0.5, 0.0, 0.0, 0.5, 1.0))
        price, exits = world.venue.prices[symbol], target and dice.chance(0.3)
        away = Decimal(dice.whole(1, 40)) / 100 * (1 if target > 0 else -1)
        signal = Signal(
            stop=price - away if exits else None,
            take_profit=price + away if exits and dice.chance(0.7) else None,
            signal_id=world.id(), strategy_id=dice.pick(STRATEGIES), symbol=symbol,
            timeframe="1m", bar_ts=bar, ts_event=bar, confidence=1.0, mode=StrategyMode.LIVE,
            target=target,
            reference_price=price,
        )  # fmt: skip
        self.signals.append(signal.signal_id)
        world.trace.note("signal", signal.strategy_id, symbol, signal.target)
        world.server.carry_out(lambda tx: tx.tell("strategies", SIGNALS, signal, signal.signal_id))

    def _order(self) -> None:
        dice, venue = self.world.dice, self.world.venue
        symbol, side = dice.pick(SYMBOLS), dice.pick((Side.BUY, Side.SELL))
        kind = dice.pick((OrderType.MARKET, OrderType.MARKET, OrderType.LIMIT, OrderType.STOP))
        near = venue.prices[symbol] + Decimal(dice.whole(-30, 30)) / 100
        fields = OrderFields(
            symbol=symbol, side=side, order_type=kind, quantity=Decimal(dice.whole(1, 200)),
            limit_price=near if kind is OrderType.LIMIT else None,
            stop_price=near if kind is OrderType.STOP else None,
        )  # fmt: skip
        self._asks.append(asyncio.create_task(self._insist(fields, f"key-{len(self._asks)}")))

    async def _insist(self, fields: OrderFields, key: str) -> None:
        """Place an order as a person does: again under the same key while there is no answer."""
        world = self.world
        for _ in range(world.dice.whole(1, 4)):
            process = world.executor
            if process.executor is not None and process.alive:
                answer = world.loop.create_future()
                task = process.spawn(process.executor.placing.place(fields, key, world.id()))
                task.add_done_callback(
                    lambda done, answer=answer: answer.done() or answer.set_result(done),
                    context=world.context,
                )
                await asyncio.wait({answer}, timeout=12.0)
                if answer.done() and self._answered(answer.result()):
                    return
            await asyncio.sleep(_PATIENCE_S)

    def _answered(self, done: asyncio.Task[Any]) -> bool:
        try:
            self.answered.add(done.result().id)
        except UnavailableError:
            return False
        except TradewindError as error:
            raise Violation(f"an order was refused oddly: {error!r}") from error
        return True

    def _cancel(self) -> None:
        process = self.world.executor
        if process.executor is None or not process.alive:
            return
        wanted = process.executor.desk.open_orders()
        if wanted:
            order = self.world.dice.pick(wanted)
            self.world.trace.note("cancel", order.id)
            process.spawn(
                _quietly(partial(process.executor.handlers.cancels.cancel, order.id, "asked"))
            )

    def _amend(self) -> None:
        world, process = self.world, self.world.executor
        if process.executor is None or not process.alive:
            return
        resting = [
            order
            for order in process.executor.desk.open_orders()
            if order.spec.limit_price is not None or order.spec.stop_price is not None
        ]
        if not resting:
            return
        order, dice = world.dice.pick(resting), world.dice
        near = world.venue.prices[order.symbol] + Decimal(dice.whole(-30, 30)) / 100
        by_limit = order.spec.limit_price is not None
        fields = AmendFields(
            quantity=Decimal(dice.whole(1, 200)) if dice.chance(0.5) else None,
            limit_price=near if by_limit else None,
            stop_price=None if by_limit else near,
        )
        self._amendments += 1
        world.trace.note("amend", order.id, fields.quantity, near)
        work = process.executor.amends.amend
        process.spawn(
            _quietly(partial(work, order.id, fields, f"amend-{self._amendments}", world.id()))
        )

    def _switch(self) -> None:
        risk = self.world.risk
        if risk.office is None or not risk.alive or not risk.office.rebuilt:
            return
        state = self.world.dice.pick((TradingState.HALTED, TradingState.ACTIVE,
                                      TradingState.ACTIVE, TradingState.REDUCING))  # fmt: skip
        self.world.trace.note("switch", state)
        risk.spawn(_quietly(partial(set_state, risk.office, state, reason="sim", actor="sim")))

    def _close(self) -> None:
        """Somebody closes a position, a part of one, or all; by way of a halt as well."""
        world, dice, process = self.world, self.world.dice, self.world.executor
        held = [symbol for symbol, one in world.venue.held.items() if one.quantity]
        if process.closings is None or not process.alive or not held:
            return
        self._closes += 1
        key, closings = f"close-{self._closes}", process.closings
        what = dice.pick(("one", "one", "part", "all", "halt"))
        world.trace.note("close", what, key)
        if what == "all":
            process.spawn(_quietly(partial(closings.close_all, key)))
        elif what == "halt":
            risk = world.risk
            if risk.office is not None and risk.alive and risk.office.rebuilt:
                halt = partial(set_state, risk.office, TradingState.HALTED, reason="sim",
                               actor="sim", flatten=True)  # fmt: skip
                risk.spawn(_quietly(halt))
        else:
            fields = CloseFields(percent=Decimal(dice.whole(10, 90)) if what == "part" else None)
            symbol = Symbol(dice.pick(held))
            process.spawn(_quietly(partial(closings.close, symbol, fields, key, world.id())))

    def _trigger(self) -> None:
        """Somebody has an order wait for a price, or takes one back."""
        world, dice, process = self.world, self.world.dice, self.world.executor
        if process.triggers is None or not process.alive:
            return
        standing = sorted(process.triggers._standing, key=str)
        if standing and dice.chance(0.2):
            chosen = dice.pick(standing)
            process.spawn(_quietly(partial(process.triggers.cancel, chosen, "asked")))
            return
        self._triggers += 1
        symbol = dice.pick(SYMBOLS)
        away = Decimal(dice.whole(1, 30)) / 100
        price, above = world.venue.prices[symbol], dice.chance(0.5)
        order = OrderFields(
            symbol=symbol, side=dice.pick((Side.BUY, Side.SELL)), order_type=OrderType.MARKET,
            quantity=Decimal(dice.whole(1, 100)),
        )  # fmt: skip
        fields = TriggerFields(
            order=order, above=price + away if above else None,
            below=None if above else price - away,
            valid_until=world.clock.now() + world.seconds(dice.between(1.0, 60.0))
            if dice.chance(0.3) else None,
        )  # fmt: skip
        world.trace.note("trigger.asked", symbol, fields.above, fields.below)
        keep = process.triggers.keep
        process.spawn(_quietly(partial(keep, fields, f"trigger-{self._triggers}", world.id())))

    def _protect(self) -> None:
        """Somebody asks that a position be guarded, or a part of it."""
        world, dice, process = self.world, self.world.dice, self.world.executor
        held = [(name, one.quantity) for name, one in world.server.tables.positions.items()
                if one.quantity]  # fmt: skip
        if process.guard is None or process.protections is None or not process.alive or not held:
            return
        symbol, quantity = dice.pick(held)
        if world.venue.split_at.get(symbol) == world.clock.now():
            return
        side = Side.SELL if quantity > 0 else Side.BUY
        away = Decimal(dice.whole(5, 200)) / 100 * side.sign
        part = max(1, int(abs(quantity)) * dice.whole(1, 9) // 10)
        one = Protection(
            id=world.id(), symbol=symbol, side=side,
            quantity=Decimal(part) if dice.chance(0.4) else None,
            stop_price=world.venue.prices[symbol] + away,
            take_profit_price=world.venue.prices[symbol] - away if dice.chance(0.5) else None,
            entry_id=None, actor="sim", seq=0,
            # A moment ago: what happens in this instant is later.
            priced_at=world.clock.now() - world.seconds(1e-6),
        )  # fmt: skip
        process.spawn(_quietly(partial(process.protections.add, one)))
        process.guard.look_soon()

    def _unprotect(self) -> None:
        """Somebody gives a protection up, or cancels one of its exits."""
        world, dice, process = self.world, self.world.dice, self.world.executor
        standing = [one for one in world.server.tables.protections.values() if not one.ended]
        if process.guard is None or process.executor is None or not process.alive or not standing:
            return
        one = dice.pick(standing)
        exits = [order for order in exits_of(world.server.tables, one)
                 if not order.status.is_terminal]  # fmt: skip
        if exits and dice.chance(0.5):
            cancel = process.executor.handlers.cancels.cancel
            process.spawn(_quietly(partial(cancel, dice.pick(exits).id, BY_HAND[0])))
        else:
            process.spawn(_quietly(partial(process.guard.give_up, one, "withdrawn by request")))

    def _command(self) -> None:
        name = self.world.dice.pick(("reconcile", "cancel_all"))
        command = Command(command=name, actor="sim", ts=self.world.clock.now())
        self.world.trace.note("command", name)
        self.world.server.carry_out(
            lambda tx: tx.tell("strategies", COMMANDS, command, self.world.id())
        )

    # The market -----------------------------------------------------------------------------------

    def _prices(self) -> None:
        for symbol in SYMBOLS:
            self.world.venue.move_price(symbol)

    def _elsewhere(self) -> None:
        dice, venue = self.world.dice, self.world.venue
        working = [name for name, one in venue.orders.items() if one.event is OrderEvent.WORKING]
        if working and dice.chance(0.3):
            name = dice.pick(working)
            change = Change(quantity=Decimal(dice.whole(1, 50)))
            with contextlib.suppress(BrokerRefusedError):
                venue.replace(name, venue.name_of("foreign"), change)
            return
        kind = dice.pick((OrderType.MARKET, OrderType.LIMIT))
        symbol = dice.pick(SYMBOLS)
        limit = self.world.venue.prices[symbol] if kind is OrderType.LIMIT else None
        self.world.venue.order_from_elsewhere(
            OrderSpec(symbol=symbol, side=dice.pick((Side.BUY, Side.SELL)), order_type=kind,
                      quantity=Decimal(dice.whole(1, 20)), limit_price=limit)
        )  # fmt: skip

    def _venue_ends(self) -> None:
        venue = self.world.venue
        still = [name for name, order in venue.orders.items() if order.event not in ENDED]
        if still:
            event = self.world.dice.pick((OrderEvent.CANCELED, OrderEvent.EXPIRED))
            venue._tell_if_open(self.world.dice.pick(still), event)

    def _cash(self) -> None:
        dice = self.world.dice
        kind = dice.pick(("DIV", "FEE"))
        amount = Decimal(dice.whole(1, 5000)) / 100
        self.world.venue.move_cash(kind, amount if kind == "DIV" else -amount)

    def _undone(self) -> None:
        """The venue takes an execution back, or another price or less of it stands instead."""
        dice, venue = self.world.dice, self.world.venue
        late = [
            one
            for name, one in venue.executions.items()
            if name not in venue.reversals
            and (one.symbol not in venue.split_at or one.executed_at > venue.split_at[one.symbol])
        ]
        if not late:
            return
        chosen = dice.pick(late[-6:])
        what = dice.pick(("bust", "price", "less"))
        if what == "price":
            price = chosen.price + Decimal(dice.whole(1, 50)) / 100
            venue.amend_execution(chosen.execution_id, price=price)
        elif what == "less" and chosen.quantity > 1:
            less = Decimal(dice.whole(1, int(chosen.quantity) - 1))
            venue.amend_execution(chosen.execution_id, quantity=less)
        else:
            venue.amend_execution(chosen.execution_id)

    def _split(self) -> None:
        ratio = self.world.dice.pick((Decimal(2), Decimal(3), Decimal("0.5")))
        symbol, venue, now = self.world.dice.pick(SYMBOLS), self.world.venue, self.world.clock.now()
        # Of what traded in the very instant of a split nobody could tell on which side of it.
        fills = [one for one in venue.executions.values() if one.symbol == symbol]
        if all(one.executed_at != now for one in fills):
            venue.split(symbol, ratio)

    # Bad luck -------------------------------------------------------------------------------------

    def _fault(self) -> None:
        world, dice, weather = self.world, self.world.dice, self.world.weather
        now, many = world.loop.time(), 3.0
        for chance, act in (
            (weather.store_outage, lambda: self._outage(world.server, now)),
            (weather.broker_outage, lambda: self._outage(world.venue, now)),
            (weather.bus_flush, world.bus.flush),
            (weather.stream_cut, world.venue.streams.cut),
        ):
            if dice.chance(min(1.0, chance * many)):
                act()

    def _outage(self, what: Any, now: float) -> None:
        length = self.world.dice.between(0.1, 20.0)
        self.world.trace.note("outage", type(what).__name__, f"{length:.3f}")
        what.down_until = now + length

    def _crash(self) -> None:
        world, dice = self.world, self.world.dice
        if not dice.chance(min(1.0, world.weather.crash * 5)):
            return
        victims = dice.pick(((world.executor,), (world.executor,), (world.risk,),
                             (world.executor, world.risk)))  # fmt: skip
        for process in victims:
            if process.alive and dice.chance(0.7):
                process.life.fuse = dice.whole(0, 300)
            else:
                world.crash(process, "at once")


async def _quietly(work: Callable[[], Awaitable[object]]) -> None:
    """Somebody asks and does not mind an answer that says no."""
    try:
        await work()
    except TradewindError:
        return


def play(seed: int, steps: int = 40, weather: Weather | None = None, **bugs: Any) -> Outcome:
    """Play one session and tell how it ended; the same seed and steps end the same."""
    world = World(seed, weather, **bugs)
    listen(world.trace)
    told = world.weather.shown()
    session = Session(world, steps)
    violation = None
    task = world.loop.create_task(session.run())
    try:
        world.loop.run_until_complete(task)
    except (Violation, Stalled) as error:
        violation = f"{type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - the finding of this seed
        import traceback

        violation = f"{error!r}\n{traceback.format_exc()}"
    outcome = Outcome(
        seed, world.trace, world.loop.time(), world.loop.handles, told, violation, world.guarded
    )
    listen(None)
    world.end()
    return outcome
