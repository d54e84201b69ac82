"""`executor_write` as the domain's functions define it: the text in migrations/sql is held to the
same functions by its own tests, so the simulation may trade one for the other."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from libs.common.contracts.channels import NOTIFICATIONS, ORDERS_EVENTS, TRADES_EXECUTED
from libs.common.contracts.messages import Notification, OrderEvent, Trade
from libs.common.domain.booking import Booked, Leg, fill_group, leg_id, release
from libs.common.domain.executions import Execution, Progress, take
from libs.common.domain.ledger import (
    AccountKey,
    OverdraftError,
    Transfer,
    TransferCode,
    TransferKind,
)
from libs.common.domain.positions import Position, apply_fill
from libs.common.domain.vocabulary import Level, OrderStatus, Side
from libs.common.kernel.ids import AccountId, BrokerOrderId, OrderId, Symbol, TradeId, TransferId
from libs.common.kernel.money import ZERO, plain
from libs.common.runtime.schema.base import Id, Instant
from libs.common.runtime.schema.execution import orders as orders_table
from services.trade_executor.entries import accounts_of
from services.trade_executor.ports import Discrepancy, OpenDiscrepancy
from tests.simulation import server_amends
from tests.simulation.server_rows import refused, standing
from tests.simulation.tables import BookedTrade, EventRow
from tests.simulation.vault import Transaction

SOURCE = "trade_executor"


def _reader(column: Any) -> Any:
    if isinstance(column.type, type(Id)):
        return UUID
    if isinstance(column.type, type(Instant)):
        return dt.datetime.fromisoformat
    if getattr(column.type, "asdecimal", False):
        return Decimal
    return None


_READERS = {column.name: _reader(column) for column in orders_table.columns}
_KEPT_BY_MOVE = (
    "broker_order_id", "client_order_id", "attempt", "parent_id", "external", "strategy_id",
    "submitted_at", "anomaly", "reject_reason",
)  # fmt: skip


def _typed(name: str, value: Any) -> Any:
    read = _READERS.get(name)
    return value if value is None or read is None else read(value)


def executor_write(tx: Transaction, batch: str, lift: bool) -> str:
    """Carry out a batch of entries; returns the answers as JSON."""
    call = Call(tx, lift)
    answers = [call.entry(one) for one in orjson.loads(batch)]
    return orjson.dumps({"answers": answers, "lifted": call.lifted, "messages": []}).decode()


class Call:
    """One call of the function."""

    def __init__(self, tx: Transaction, lift: bool) -> None:
        self.tx = tx
        self.lift = lift
        self.lifted: list[str] = []

    def entry(self, e: dict[str, Any]) -> dict[str, Any]:
        """Carry out one entry."""
        acts = {
            "create": self._create, "move": self._move, "book": self._book,
            "reverse": self._reverse, "activity": partial(server_amends.activity, self),
        }  # fmt: skip
        return acts[e["kind"]](e)

    def _create(self, e: dict[str, Any]) -> dict[str, Any]:
        row = dict.fromkeys(_READERS)
        row |= {name: _typed(name, value) for name, value in e["order"].items()}
        row["event_seq"] = len(e["events"])
        rows = self.tx.tables.orders
        known = rows.get(row["id"]) or self._taken(row)
        if known is not None:
            return {"outcome": "exists", "order": standing(known)}
        for name in ("parent_id", "replaces_id"):
            if row[name] is not None and row[name] not in rows:
                raise refused(f"{name} {row[name]} is not an order")
        self.tx.put(rows, row["id"], row)
        if e["hold"] is not None:
            account, symbol = AccountId(row["account_id"]), Symbol(row["symbol"])
            keys = {str(key.id): key for key in accounts_of(account, symbol).values()}
            self.commit([
                Transfer(
                    TransferId(row["hold_id"]), keys[e["hold"]["debit"]], keys[e["hold"]["credit"]],
                    row["hold_amount"], TransferCode.HOLD, TransferKind.PENDING, order_id=row["id"],
                )
            ])  # fmt: skip
        for seq, step in enumerate(e["events"], start=1):
            self.tell(row, seq, step["event"], step["from"], step["to"], step["reason"], e,
                       step["message_id"])  # fmt: skip
        self.flag(row, None)
        return {"outcome": "created", "order": standing(row)}

    def _taken(self, row: dict[str, Any]) -> dict[str, Any] | None:
        for other in self.tx.tables.orders.values():
            if other["client_order_id"] == row["client_order_id"]:
                return other
            broker_id = row["broker_order_id"]
            if broker_id is not None and other["broker_order_id"] == broker_id:
                return other
        return None

    def _move(self, e: dict[str, Any]) -> dict[str, Any]:
        row = self.order(e)
        if row["status"] != e["expect"]:
            return {"outcome": "conflict", "order": standing(row)}
        before, new = row["status"], dict(row)
        new["status"] = e["to"]
        if e["release"] and row["hold_id"] is not None:
            self.commit([release(self.tx.tables.ledger.transfers[row["hold_id"]])])
            new["hold_id"] = new["hold_amount"] = None
        for name in _KEPT_BY_MOVE:
            if e.get(name) is not None:
                new[name] = _typed(name, e[name])
        for name in ("broker_order_id", "client_order_id"):
            taken = new[name] is not None and any(
                other[name] == new[name] and other["id"] != new["id"]
                for other in self.tx.tables.orders.values()
            )
            if taken:
                raise refused(f"{name} {new[name]} is taken")
        answer = {"outcome": "moved"}
        if e.get("heir") is not None:
            answer |= self._take_over(e["heir"], e, row["id"])
        new["event_seq"] += 1
        new["updated_at"] = _typed("updated_at", e["at"])
        self.tx.put(self.tx.tables.orders, new["id"], new)
        self.flag(new, row)
        self.tell(new, new["event_seq"], e["event"], before, new["status"], e["reason"], e,
                   e["message_id"])  # fmt: skip
        return {**answer, "order": standing(new)}

    def _take_over(self, step: dict[str, Any], e: dict[str, Any], old: UUID) -> dict[str, Any]:
        """Give an amendment what its forerunner held."""
        ledger = self.tx.tables.ledger
        heir = dict(self.tx.tables.orders[UUID(step["id"])])
        if OrderStatus(heir["status"]).is_terminal:
            return {}
        if heir["hold_id"] is not None:
            self.commit([release(ledger.transfers[heir["hold_id"]])])
        heir["hold_id"] = heir["hold_amount"] = None
        if step["hold"] is not None:
            names = accounts_of(AccountId(heir["account_id"]), Symbol(heir["symbol"]))
            keys = {str(key.id): key for key in names.values()}
            hold = step["hold"]
            heir["hold_id"], heir["hold_amount"] = UUID(hold["id"]), Decimal(hold["amount"])
            self.commit([
                Transfer(
                    TransferId(heir["hold_id"]), keys[hold["debit"]], keys[hold["credit"]],
                    heir["hold_amount"], TransferCode.HOLD, TransferKind.PENDING,
                    order_id=heir["id"],
                )
            ])  # fmt: skip
        heir["quantity"] = _typed("quantity", step["quantity"])
        heir["event_seq"] += 1
        heir["updated_at"] = _typed("updated_at", e["at"])
        self.tx.put(self.tx.tables.orders, heir["id"], heir)
        self.tell(heir, heir["event_seq"], "takes_over", heir["status"], heir["status"],
                   f"in the place of {old}", e, step["message_id"])  # fmt: skip
        return {"heir": standing(heir)}

    def _reverse(self, e: dict[str, Any]) -> dict[str, Any]:
        """Take an execution back, and book what stands in its place."""
        answer, gone = server_amends.reverse(self, e)
        if e["then"] is not None and answer["outcome"] != "duplicate":
            then = self._book(e["then"], gone)
            if then["outcome"] == "booked":
                answer |= {"then": then, "order": then["order"]}
        return answer

    def _book(self, e: dict[str, Any], replaced: BookedTrade | None = None) -> dict[str, Any]:
        tables, row = self.tx.tables, self.order(e)
        if e["execution_id"] in tables.trades or e["execution_id"] in tables.reversals:
            return {"outcome": "duplicate", "order": standing(row)}
        fill = Execution(
            e["broker"], e["execution_id"], self._id_there(e, row), row["symbol"],
            Side(e["side"]), Decimal(e["quantity"]), Decimal(e["price"]),
            dt.datetime.fromisoformat(e["executed_at"]), Decimal(e["fees"]),
        )  # fmt: skip
        held = row["hold_id"] and tables.ledger.transfers[row["hold_id"]]
        before = Progress(OrderStatus(row["status"]), row["quantity"], row["filled_quantity"])
        after, anomaly = take(before, fill)
        trade_id = TradeId(UUID(e["trade_id"]))
        booked = BookedTrade(
            trade_id, row["id"], fill, self.tx.now, row["strategy_id"], ZERO,
            replaced.entry if replaced else server_amends.last_entry(tables, row["symbol"]) + 1,
            replaces=replaced is not None,
        )  # fmt: skip
        earlier = tables.positions.get(row["symbol"], Position())
        if replaced is None:
            position = apply_fill(earlier, fill.side, fill.quantity, fill.price).position
        else:
            position = server_amends.position_told(tables, row["symbol"], booked)
        realized = position.realized_pnl - earlier.realized_pnl
        account, symbol = AccountId(row["account_id"]), Symbol(row["symbol"])
        open_after = not after.status.is_terminal
        lines = fill_group(
            Booked(trade_id, OrderId(row["id"]), account, symbol, fill.side, fill.quantity,
                   fill.amount, fill.fee),
            held, order_open=open_after,
        )  # fmt: skip
        self.commit(lines)
        new = dict(row)
        rehold = next((line for line in lines if line.id == leg_id(trade_id, Leg.REHOLD)), None)
        new["hold_id"], new["hold_amount"] = (rehold.id, rehold.amount) if rehold else (None, None)
        if held and rehold is None and held.id in tables.ledger.open_holds():
            new["hold_id"], new["hold_amount"] = row["hold_id"], row["hold_amount"]
        complete = row["quantity"] is not None and after.filled_quantity >= row["quantity"]
        new |= {
            "status": after.status.value,
            "filled_quantity": after.filled_quantity,
            "filled_value": row["filled_value"] + fill.amount,
            "anomaly": anomaly or row["anomaly"],
            "broker_order_id": fill.broker_order_id or None,
            "submitted_at": row["submitted_at"] or _typed("submitted_at", e["at"]),
            "event_seq": row["event_seq"] + 1,
            "updated_at": _typed("updated_at", e["at"]),
        }
        self.tx.put(tables.orders, new["id"], new)
        self.flag(new, row)
        self.tx.put(tables.positions, row["symbol"], position)
        booked = replace(booked, realized_pnl=realized)
        self.tx.put(tables.trades, fill.execution_id, booked)
        event = "filled" if complete else "partly_filled"
        self.tell(new, new["event_seq"], event, row["status"], new["status"], anomaly, e,
                   e["message_ids"][0])  # fmt: skip
        self._tell_trade(new, booked, position, e)
        return {
            "outcome": "booked", "anomaly": anomaly, "order": standing(new),
            "realized_pnl": plain(realized), "position_quantity": plain(position.quantity),
            "position_avg_cost": plain(position.avg_cost),
        }  # fmt: skip

    def flag(self, new: dict[str, Any], old: dict[str, Any] | None) -> None:
        """What the triggers on orders do: an anomaly opens its discrepancy, with the alert."""
        odd = new["anomaly"]
        again = old is not None and (
            odd == old["anomaly"]
            and (
                new["filled_quantity"] == old["filled_quantity"]
                or not OrderStatus(old["status"]).is_terminal
            )
        )
        if odd is None or again or not self.tx.tables.triggers:
            return
        where = (new["symbol"], f"anomaly:{odd}")
        if any((one.found.symbol, one.found.kind) == where for one in self.tx.tables.unresolved()):
            return
        found = Discrepancy(*where, new["status"], odd, f"Order {new['id']}.")
        one = OpenDiscrepancy(self.tx.ids.new(), found, self.tx.now)
        self.tx.put(self.tx.tables.discrepancies, one.id, one)
        alert = Notification(
            level=Level.CRITICAL, title=where[1], message=found.detail, fingerprint=where[1],
            ts=self.tx.now,
        )  # fmt: skip
        self.tx.tell(SOURCE, NOTIFICATIONS, alert, new["correlation_id"])

    def _id_there(self, e: dict[str, Any], row: dict[str, Any]) -> BrokerOrderId:
        """The venue's id of the order, learnt from its execution unless another row has it."""
        if row["broker_order_id"] is not None:
            return BrokerOrderId(row["broker_order_id"])
        others = {other["broker_order_id"] for other in self.tx.tables.orders.values()}
        named = e["broker_order_id"]
        return BrokerOrderId("" if named in others else named)

    def order(self, e: dict[str, Any]) -> dict[str, Any]:
        row = self.tx.tables.orders.get(UUID(e["order_id"]))
        if row is None:
            raise refused(f"order {e['order_id']} is not there")
        return row

    def commit(self, lines: Any) -> None:
        for line in lines:
            for key in (line.debit, line.credit):
                self.tx.tables.ledger.open_account(key)
        try:
            fallen = self.tx.tables.ledger.commit(lines, happened=self.lift)
        except OverdraftError as error:
            raise refused(f"no_overdraft: {error}") from error
        self.lifted += [f"{key.owner} {key.ledger}" for key in sorted(fallen)]

    def tell(
        self, row: dict[str, Any], seq: int, event: str, before: str | None, after: str,
        reason: str | None, e: dict[str, Any], message_id: str,
    ) -> None:  # fmt: skip
        self.tx.note("row", row["id"], seq, event, before, after, row["filled_quantity"])
        told = EventRow(event, reason, self.tx.now)
        self.tx.put(self.tx.tables.events, (row["id"], seq), told)
        payload = OrderEvent(
            order_id=row["id"], client_order_id=row["client_order_id"],
            account_id=row["account_id"], symbol=row["symbol"], side=Side(row["side"]), seq=seq,
            event=event, from_status=before and OrderStatus(before), to_status=OrderStatus(after),
            quantity=row["quantity"], filled_quantity=row["filled_quantity"],
            ts=_typed("updated_at", e["at"]), reason=reason, anomaly=row["anomaly"],
            broker_order_id=row["broker_order_id"], strategy_id=row["strategy_id"],
            signal_id=row["signal_id"], limit_price=row["limit_price"],
        )  # fmt: skip
        self.tx.tell(SOURCE, ORDERS_EVENTS, payload, row["correlation_id"],
                     message_id=UUID(message_id))  # fmt: skip

    def _tell_trade(
        self, row: dict[str, Any], booked: BookedTrade, position: Position, e: dict[str, Any]
    ) -> None:
        fill = booked.execution
        payload = Trade(
            trade_id=booked.id, order_id=row["id"], account_id=row["account_id"],
            broker=fill.broker, execution_id=fill.execution_id, symbol=row["symbol"],
            side=fill.side, quantity=fill.quantity, price=fill.price, commission=Decimal(0),
            fees=fill.fee, executed_at=fill.executed_at, realized_pnl=booked.realized_pnl,
            position_quantity=position.quantity, position_avg_cost=position.avg_cost,
            strategy_id=row["strategy_id"], signal_id=row["signal_id"],
        )  # fmt: skip
        self.tx.tell(SOURCE, TRADES_EXECUTED, payload, row["correlation_id"],
                     message_id=UUID(e["message_ids"][1]))  # fmt: skip


FUNCTIONS = {"executor_write": executor_write}
__all__ = ["FUNCTIONS", "AccountKey", "executor_write"]
