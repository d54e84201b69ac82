"""What must hold after every step, and what must hold once everything has come to rest."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from msgspec import structs

from libs.common.domain.ledger import cash_account, imbalances, position_account
from libs.common.domain.positions import Position
from libs.common.domain.vocabulary import (
    TERMINAL_STATUSES,
    OrderStatus,
    OrderType,
    Side,
    Verdict,
)
from libs.common.kernel.ids import AccountId, Symbol, order_id_from_client
from libs.common.kernel.money import ZERO
from services.trade_executor.balance_comparison import NAKED
from services.trade_executor.closing import ClosingStatus, order_id_of_closing
from services.trade_executor.exits import by_group, open_quantity
from services.trade_executor.trigger import ENDED as TRIGGER_ENDED
from services.trade_executor.trigger import Trigger, TriggerStatus
from tests.simulation.server_amends import position_told, strategy_positions
from tests.simulation.sim_protection import exits_of
from tests.simulation.venue import ENDED

if TYPE_CHECKING:
    from tests.simulation.session import Session
    from tests.simulation.tables import Table
    from tests.simulation.vault import Transaction

ACCOUNT = AccountId("main")
_DEAR = Decimal(40)
# For as long after a split a judgement may know the price of before it.
_QUOTES_LATE = dt.timedelta(seconds=5)

_order_of_closing = lru_cache(maxsize=10_000)(order_id_of_closing)


class Violation(AssertionError):
    """An invariant does not hold."""


class Invariants:
    """Looks at the whole world at once, which nobody in it can.

    A look whose rows have not been written to since it was last fine is spared: it would find
    the same.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._world = session.world
        self._arrivals = 0
        self._orders = 0
        self._sent: Counter[str] = Counter()
        self._taken: Counter[Any] = Counter()
        self._ghosts: set[str] = set()
        self._seen: dict[str, tuple[int, ...]] = {}
        self._balances: object = None
        self._of_firing: dict[tuple[Any, int], Any] = {}
        self._world.server.on_commit.append(self._anomalies)

    # After every step ---------------------------------------------------------------------------

    def always(self) -> None:
        """Raise Violation unless all holds that must hold at every instant."""
        if self._world.trace.bugs:
            raise Violation(f"a bug was caught at an edge: {self._world.trace.bugs[0]}")
        if self._world.bus.buried:
            raise Violation(f"dead letter: {self._world.bus.buried[0]}")
        self._approved()
        self._executions_are_the_venues()
        self._sums()
        self._ledger()
        self._closings()
        self._firings()
        self._reservations()

    def afresh(self) -> None:
        """Look at all of it again, spare nothing."""
        self._seen.clear()
        self._balances = None
        self.always()

    def _news(self, look: str, *tables: Table[Any, Any]) -> bool:
        """Tell whether one of the tables was written to since the last such look."""
        writes = tuple([one.writes for one in tables])
        if self._seen.get(look) == writes:
            return False
        self._seen[look] = writes
        return True

    def _approved(self) -> None:
        """No order reaches the venue without an approval of just this order, or twice."""
        arrivals = self._world.venue.arrivals
        for arrival in arrivals[self._arrivals :]:
            named = order_id_from_client(arrival.client_order_id)
            if named is None:
                if arrival.amends:
                    continue  # somebody amended past us
                raise Violation(f"an order without our name was sent: {arrival}")
            order_id, _ = named
            if arrival.ghost:
                self._ghosts.add(arrival.client_order_id)
            judged = self._judgement(order_id)
            if judged is None or judged.verdict is not Verdict.APPROVED:
                raise Violation(f"sent without approval: {arrival}")
            wanted, spec = judged.order_spec, arrival.spec
            if arrival.amends and spec.quantity <= wanted.quantity:
                # What was executed meanwhile is no longer asked for; a leg is judged alone.
                same = {"quantity": wanted.quantity, "order_class": wanted.order_class}
                spec = structs.replace(spec, **same)
            if spec != wanted:
                raise Violation(f"sent {spec}, approved was {wanted}")
            self._sent[arrival.client_order_id] += 1
            if self._sent[arrival.client_order_id] > 1:
                raise Violation(f"sent twice under one name: {arrival}")
        self._arrivals = len(arrivals)
        # An order that the venue has taken stays with it, under its name.
        orders, before = self._world.venue.orders, self._orders
        self._orders = len(orders)
        for order in islice(orders.values(), before, None):
            named = order_id_from_client(order.client_order_id)
            if named is not None and order.client_order_id not in self._ghosts:
                self._taken[named[0]] += 1
                if self._taken[named[0]] > 1:
                    raise Violation(
                        f"doubled: the venue holds {named[0]} {self._taken[named[0]]} times"
                    )

    def _judgement(self, order_id: Any) -> Any:
        judged = self._world.server.tables.assessments.values()
        return next((one for one in judged if one.order_id == order_id), None)

    def _executions_are_the_venues(self) -> None:
        tables, venue = self._world.server.tables, self._world.venue
        theirs = venue.executions
        if not self._news(
            "executions", tables.trades, tables.reversals, theirs, venue.reversals
        ):  # fmt: skip
            return
        for name, trade in tables.trades.items():
            if name not in theirs:
                raise Violation(f"booked, and never happened: {trade}")
            ours, real = trade.execution, theirs[name]
            if (ours.side, ours.quantity, ours.price) != (real.side, real.quantity, real.price):
                raise Violation(f"booked otherwise than it happened: {ours}, {real}")
        for name in tables.reversals:
            if name not in venue.reversals:
                raise Violation(f"taken back, and the venue did not: {name}")

    def _sums(self) -> None:
        """What an order has traded is what stands booked of it, and what the opening held."""
        tables, venue = self._world.server.tables, self._world.venue
        if not self._news(
            "sums", tables.orders, tables.trades, tables.reversals, tables.runs, venue.executions,
            venue.reversals,
        ):  # fmt: skip
            return
        opened = self._opened()
        traded: Counter[Any] = Counter()
        for trade in tables.standing():
            traded[trade.order_id] += trade.execution.quantity  # type: ignore[assignment]
        early: Counter[Any] = Counter()
        for name, one in venue.executions.items():
            gone = venue.reversals.get(name)
            stood = gone is None or (
                # What the opening holds stays in the sum until we have taken it out.
                opened is not None and gone.reversed_at >= opened and name not in tables.reversals
            )
            if opened is not None and one.executed_at < opened and stood:
                early[one.broker_order_id] += one.quantity  # type: ignore[assignment]
        for row in tables.orders.values():
            if row["filled_quantity"] != traded[row["id"]] + early[row["broker_order_id"]]:
                raise Violation(
                    f"{row['id']}: {row['filled_quantity']}, booked {traded[row['id']]}"
                )

    def _ledger(self) -> None:
        tables = self._world.server.tables
        # What changes the book puts other balances in the place of those that were there.
        moved = tables.ledger.balances is not self._balances
        if not self._news("ledger", tables.orders, tables.positions) and not moved:
            return
        self._balances = tables.ledger.balances
        wrong = imbalances(tables.ledger.balances)
        if wrong:
            raise Violation(f"the ledger does not sum to zero: {wrong}")
        behind = {}
        for row in tables.orders.values():
            if row["hold_id"] is not None:
                if row["status"] in TERMINAL_STATUSES:
                    raise Violation(f"order {row['id']} is {row['status']} and holds")
                behind[row["hold_id"]] = row
        if set(behind) != set(tables.ledger.open_holds()):
            raise Violation("holds of the ledger and holds of the orders differ")
        for key, balance in tables.ledger.balances.items():
            if min(balance.debits_pending, balance.credits_pending) < 0:
                raise Violation(f"negative hold on {key}: {balance}")
        for symbol, held in tables.positions.items():
            booked = tables.ledger.balance(position_account(ACCOUNT, symbol)).posted
            if booked != held.quantity:
                raise Violation(f"{symbol}: ledger {booked}, position {held.quantity}")

    def _anomalies(self, tx: Transaction) -> None:
        """What an order did wrong is on record, with its alert, from the same commit on."""
        tables = tx.tables
        if not self._news("anomalies", tables.orders, tables.discrepancies):
            return
        odd = [row for row in tables.orders.values() if row["anomaly"] is not None]
        if not odd:
            return
        told = {(one.found.symbol, one.found.kind) for one in tables.discrepancies.values()}
        for row in odd:
            if (row["symbol"], f"anomaly:{row['anomaly']}") not in told:
                self._world.trace.bugs.append(
                    f"an anomaly without its discrepancy: {row['id']} {row['anomaly']}"
                )

    def _closings(self) -> None:
        """A closing has one order at a time, each on record before it is judged, and all of them
        together sell no more than the first set out to, unless the whole is to go."""
        tables = self._world.server.tables
        if not self._news("closings", tables.closings, tables.orders):
            return
        for closing in tables.closings.values():
            live, traded = 0, ZERO
            for attempt in range(1, closing.attempt + 2):
                order = tables.orders.get(_order_of_closing(closing.id, attempt))
                if order is None:
                    continue
                if attempt > closing.attempt:
                    raise Violation(f"an order of a closing that is not on record: {closing}")
                live += order["status"] not in TERMINAL_STATUSES
                traded += order["filled_quantity"]
                if closing.status is not ClosingStatus.OPEN and live:
                    raise Violation(f"a closing has ended and its order has not: {closing}")
            if live > 1:
                raise Violation(f"a closing has {live} orders at once: {closing}")
            wanted = abs(closing.order_quantity or ZERO)
            if closing.attempt == 1 and traded > wanted:
                raise Violation(f"a closing of {wanted} traded {traded}: {closing}")

    def _firings(self) -> None:
        """What a trigger sends was met, once: of its firings one has an order at most."""
        tables = self._world.server.tables
        if not self._news("firings", tables.triggers_kept, tables.orders):
            return
        for trigger in tables.triggers_kept.values():
            sent = [
                number
                for number in range(1, trigger.firing + 2)
                if self._order_of_firing(trigger, number) in tables.orders
            ]
            if len(sent) > 1 or (sent and sent[0] > trigger.firing):
                raise Violation(f"a trigger sent {sent}: {trigger}")
            if sent and trigger.status in {TriggerStatus.WAITING, TriggerStatus.CANCELED}:
                raise Violation(f"a trigger that is {trigger.status} sent its order: {trigger}")
            if trigger.status is TriggerStatus.FIRED and not sent:
                raise Violation(f"a trigger fired and sent nothing: {trigger}")

    def _order_of_firing(self, trigger: Trigger, number: int) -> Any:
        """Return the id of what a firing sends: it follows from the trigger's and that number."""
        named = trigger.id, number
        if named not in self._of_firing:
            self._of_firing[named] = replace(trigger, firing=number).order_id
        return self._of_firing[named]

    def _reservations(self) -> None:
        office = self._world.risk.office
        if office is None or not office.rebuilt:
            return
        book = office.desk.book
        for symbol, line in book._lines.items():
            if line.exposure.buys < 0 or line.exposure.sells < 0:
                raise Violation(f"negative reservation on {symbol}: {line.exposure}")
        if book.totals().held < 0:
            raise Violation(f"negative sum of reservations: {book.totals().held}")

    # At rest ------------------------------------------------------------------------------------

    def unrest(self) -> str | None:
        """Return why the world is not at rest yet, None if it is."""
        world, tables = self._world, self._world.server.tables
        if not (world.executor.alive and world.risk.alive):
            return "a process is down"
        if world.bus.pending():
            return f"{world.bus.pending()} messages are under way"
        executor = world.executor.executor
        if executor is None or not executor.watch or not world.executor.readiness.ready:
            return f"executor is not ready: {world.executor.readiness.reasons}"
        if len(executor.tasks):
            return f"executor works on {sorted(executor.tasks._running)}"
        under_way = [c.id for c in tables.closings.values() if c.status is ClosingStatus.OPEN]
        if under_way:
            return f"closings under way: {under_way}"
        firing = [t.id for t in tables.triggers_kept.values() if t.status is TriggerStatus.FIRING]
        if firing:
            return f"triggers firing: {firing}"
        standing = {t.id for t in tables.triggers_kept.values() if t.status not in TRIGGER_ENDED}
        if world.executor.triggers is None or set(world.executor.triggers._standing) != standing:
            return f"triggers stand that nobody watches, or the other way round: {standing}"
        unguarded = {symbol: [NAKED] for symbol in self._unguardable()}
        blocked = {
            symbol: kinds
            for symbol, kinds in executor.blocks.shown().items()
            if kinds != unguarded.get(symbol)
        }
        if blocked:
            return f"blocked: {blocked}"
        for check in (
            self._orders_agree, self._books_agree, self._risk_agrees, self._guarded
        ):  # fmt: skip
            why = check()
            if why is not None:
                return why
        unresolved = [
            one
            for one in tables.unresolved()
            if not (one.found.kind == NAKED and one.found.symbol in unguarded)
        ]
        return f"open discrepancies: {unresolved}" if unresolved else None

    def _orders_agree(self) -> str | None:
        world = self._world
        rows = {row["broker_order_id"]: row for row in world.server.tables.orders.values()}
        for row in rows.values():
            status = OrderStatus(row["status"])
            there = world.venue.orders.get(row["broker_order_id"])
            if there is None:
                if not status.is_terminal:
                    return f"order {row['id']} is {status} and not at the venue"
            elif status.is_terminal != (there.event in ENDED):
                return f"order {row['id']} is {status}, at the venue {there.event}"
            elif row["filled_quantity"] != there.filled_quantity:
                return f"order {row['id']}: {row['filled_quantity']}, {there.filled_quantity}"
            elif status.is_terminal and status != there.event:
                return f"order {row['id']} ended {status}, at the venue {there.event}"
        booked = self.to_be_booked()
        for name, order in world.venue.orders.items():
            # An order from elsewhere that ended before anybody looked leaves its executions alone.
            past = order.event in ENDED and name not in {one.broker_order_id for one in booked}
            if name not in rows and not past:
                return f"{name} of the venue is not in our books"
        return None

    def to_be_booked(self) -> list[Any]:
        """The venue's executions that stand and that the opening balance does not hold."""
        opened = self._opened()
        every, gone = self._world.venue.executions, self._world.venue.reversals
        return [
            one
            for name, one in every.items()
            if name not in gone and (opened is None or one.executed_at >= opened)
        ]

    def _opened(self) -> Any:
        runs = self._world.server.tables.runs.values()
        return next((run.watermark for run in runs if run.cause == "opening"), None)

    def _books_agree(self) -> str | None:
        world, tables = self._world, self._world.server.tables
        missing = {one.execution_id for one in self.to_be_booked()} - set(tables.trades)
        if missing:
            return f"executions not booked: {sorted(missing)}"
        gone = {one.execution.execution_id for one in tables.standing()} & {*world.venue.reversals}
        if gone:
            return f"executions that the venue took back stand: {sorted(gone)}"
        for symbol, held in tables.positions.items():
            if held != position_told(tables, symbol):
                return f"position {symbol}: {held}, told anew {position_told(tables, symbol)}"
        for symbol in {*world.venue.held, *tables.positions}:
            theirs, ours = world.venue.held.get(symbol), tables.positions.get(symbol)
            if (theirs.quantity if theirs else ZERO) != (ours.quantity if ours else ZERO):
                return f"position {symbol}: {ours}, at the venue {theirs}"
        cash = tables.ledger.balance(cash_account(ACCOUNT)).posted
        if cash != world.venue.money:
            return f"cash {cash}, at the venue {world.venue.money}"
        return None

    def _risk_agrees(self) -> str | None:
        office, tables = self._world.risk.office, self._world.server.tables
        if office is None or not office.rebuilt:
            return "the risk manager's book is not rebuilt"
        book = office.desk.book
        still = {
            row["id"]
            for row in tables.orders.values()
            if row["status"] not in TERMINAL_STATUSES and row["parent_id"] is None
        }
        if set(book.orders) != still:
            return f"risk manager's pending {set(book.orders) ^ still} are not the open orders"
        cash = tables.ledger.balance(cash_account(ACCOUNT)).posted
        if book.cash != cash:
            return f"risk manager's cash {book.cash}, ledger's {cash}"
        ours = {name: held.quantity for name, held in tables.positions.items() if held.quantity}
        if book.positions() != ours:
            return f"risk manager's positions {book.positions()}, table's {ours}"
        by_strategy = {
            where: held for where, held in strategy_positions(tables).items() if where[0] and held
        }
        theirs = {where: held for where, held in book.by_strategy.items() if held}
        if theirs != by_strategy:
            return f"risk manager's positions by strategy {theirs}, table's {by_strategy}"
        return None

    def _guarded(self) -> str | None:
        """What was asked to be guarded has stops at the venue for as much of the position, and
        what was placed for it would not sell more than there is."""
        world, tables = self._world, self._world.server.tables
        wanted: dict[tuple[str, Side], list[Any]] = {}
        for one in tables.protections.values():
            if not one.ended:
                wanted.setdefault((one.symbol, one.side), []).append(one)
        for (symbol, side), ones in wanted.items():
            held = tables.positions.get(symbol, Position()).quantity
            if held * side.sign >= 0:
                return f"protections of {symbol} stand with {held} held"
            needed = min(abs(held), sum((self._to_guard(one, held) for one in ones), ZERO))
            there = sum(
                (
                    (order.spec.quantity or ZERO) - order.filled_quantity
                    for order in world.venue.orders.values()
                    if (order.symbol, order.side) == (symbol, side) and order.event not in ENDED
                    and order.spec.order_type is OrderType.STOP
                ),
                ZERO,
            )  # fmt: skip
            if there < needed and symbol not in self._unguardable():
                return f"{symbol}: {needed} of {held} are to be guarded, stops are for {there}"
            open_for = sum(
                (
                    max(map(open_quantity, members), default=ZERO)
                    for one in ones
                    for root, group in by_group(exits_of(tables, one)).items()
                    if root != one.entry_id
                    and (members := [order for order in group if not order.status.is_terminal])
                ),
                ZERO,
            )
            if open_for > abs(held):  # an entry's own legs are left to the venue
                return f"{symbol}: our exits are for {open_for}, held are {held}"
            # A split moves prices by half at least, the market by a few in the time of a session.
            # An entry may trade after the split that its stop was meant before.
            price = world.venue.prices[Symbol(symbol)]
            stops = [
                order.spec.stop_price
                for one in ones if one.entry_id is None
                for order in exits_of(tables, one)
                if order.spec.stop_price is not None and not order.status.is_terminal
            ]  # fmt: skip
            if price > _DEAR and not all(price * 3 / 5 < stop < price * 8 / 5 for stop in stops):
                return f"{symbol}: stops {stops} mean nothing at {price}"
        return None

    def _unguardable(self) -> set[str]:
        """Return the symbols that nobody can guard, which is told: no venue takes an exit beside
        an order that it could trade with or that has the shares already, nor one whose price a
        split has made odd between the judgement of its entry and the trade, or while the venue
        held nothing (what we held was taken back later) and so told of no split."""
        venue, tables = self._world.venue, self._world.server.tables
        found = set()
        for one in tables.protections.values():
            if one.ended or one.symbol in found:
                continue
            exits = {order.broker_order_id for order in exits_of(tables, one)}
            beside = any(
                order.symbol == one.symbol and order.event not in ENDED and name not in exits
                for name, order in venue.orders.items()
            )
            split_at = venue.split_at.get(one.symbol)
            entry = tables.orders.get(one.entry_id) if one.entry_id else None
            overtaken = entry and split_at and entry["created_at"] <= split_at + _QUOTES_LATE
            untold_at = venue.untold_split_at.get(one.symbol)
            untold = untold_at and one.priced_at and one.priced_at <= untold_at
            if beside or overtaken or untold:
                found.add(one.symbol)
        return found

    def _to_guard(self, one: Any, held: Decimal) -> Decimal:
        if one.quantity is not None:
            return max(ZERO, one.quantity - self._sold(one))
        if one.entry_id is None:
            return abs(held)
        entry = self._world.server.tables.orders[one.entry_id]
        return max(ZERO, entry["filled_quantity"] - self._sold(one))

    def _sold(self, one: Any) -> Decimal:
        exits = exits_of(self._world.server.tables, one)
        return sum((order.filled_quantity for order in exits), ZERO)

    def intents(self) -> None:
        """Raise Violation unless every wish has come to its answer."""
        tables = self._world.server.tables
        for signal_id in self._session.signals:
            if signal_id not in tables.assessments:
                raise Violation(f"intent lost: signal {signal_id} was never judged")
        for judged in tables.assessments.values():
            if judged.verdict is not Verdict.APPROVED:
                continue
            if judged.signal_id is not None and judged.order_id not in tables.orders:
                raise Violation(f"intent lost: approval of {judged.order_id} is no order")
        for order_id in self._session.answered:
            if order_id not in tables.orders:
                raise Violation(f"intent lost: order {order_id} was answered and is not there")
