"""The rest of `executor_write`: executions taken back or corrected, and money or shares that moved
without a trade. What migrations/sql/0009_executor.sql and 0023_held_executions.sql say, by the
domain's functions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from libs.common.contracts.channels import POSITIONS_CHANGED, TRADES_REVERSED
from libs.common.contracts.messages import PositionChanged, StrategyPart, TradeReversed
from libs.common.domain.booking import rehold, reversal
from libs.common.domain.executions import Execution, Progress, take_back
from libs.common.domain.ledger import (
    CURRENCY,
    AccountKey,
    Transfer,
    TransferCode,
    capital_account,
    cash_account,
    corporate_account,
    fees_account,
    interest_account,
    position_account,
)
from libs.common.domain.positions import Position
from libs.common.domain.replay import Change, ChangeKind, Fill, replay
from libs.common.domain.vocabulary import OrderStatus, Side
from libs.common.kernel.ids import AccountId, Symbol, TransferId
from libs.common.kernel.money import PRICE_QUANTUM, ZERO, plain
from tests.simulation.server_rows import refused, standing
from tests.simulation.tables import BookedChange, BookedReversal, BookedTrade, Tables

if TYPE_CHECKING:
    from tests.simulation.server_side import Call

SOURCE = "trade_executor"


def last_entry(tables: Tables, symbol: str) -> int:
    """Return the place of the last execution of a symbol."""
    return max((t.entry for t in tables.trades.values() if t.execution.symbol == symbol), default=0)


def position_told(tables: Tables, symbol: str, plus: BookedTrade | None = None) -> Position:
    """Return the position from its beginning, with `plus` in its place: `position_replay`."""
    stand = [one for one in tables.standing() if one.execution.symbol == symbol]
    told: list[tuple[int, int, Fill | Change]] = [
        (one.entry, 0, Fill(one.execution.side, one.execution.quantity, one.execution.price))
        for one in [*stand, *([plus] if plus else [])]
    ]
    changes = [one for one in tables.changes.values() if one.symbol == symbol]
    told += [(one.after_entry, seq, one.change) for seq, one in enumerate(changes, start=1)]
    return replay(one for _, _, one in sorted(told, key=lambda one: one[:2]))


def reverse(call: Call, e: dict[str, Any]) -> tuple[dict[str, Any], BookedTrade | None]:
    """Take an execution back; return the answer, and the execution if it was booked."""
    tx, tables, row = call.tx, call.tx.tables, call.order(e)
    name, reversed_at = e["execution_id"], dt.datetime.fromisoformat(e["reversed_at"])
    if name in tables.reversals:
        return {"outcome": "duplicate", "order": standing(row)}, None
    trade = tables.trades.get(name)
    gone = BookedReversal(UUID(e["reversal_id"]), trade, tx.now, e["record_id"], reversed_at)
    if trade is not None and trade.order_id != row["id"]:
        raise refused(f"execution {name} belongs to order {trade.order_id}")
    if trade is None and e["held"] is not None:
        return _reverse_held(call, e, row), None
    tx.put(tables.reversals, name, gone)
    if trade is None:
        return {"outcome": "unknown", "order": standing(row)}, None
    symbol = row["symbol"]
    before, position = tables.positions[symbol], position_told(tables, symbol)
    tx.put(tables.positions, symbol, position)
    status = OrderStatus(row["status"])
    moved = tables.ledger.transfers
    lines = [moved[TransferId(UUID(leg))] for leg in e["legs"] if UUID(leg) in moved]
    hold = row["hold_id"] and moved[row["hold_id"]]
    again = () if status.is_terminal else rehold(trade.id, lines, hold)  # type: ignore[arg-type]
    call.commit([*reversal(lines), *again])
    hold_facts = {"hold_id": again[-1].id, "hold_amount": again[-1].amount} if again else {}
    realized = position.realized_pnl - before.realized_pnl
    return _told(call, e, row | hold_facts, trade, position, realized), trade


def _reverse_held(call: Call, e: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Take an execution out of what the books began with."""
    tx, tables, held, symbol = call.tx, call.tx.tables, e["held"], row["symbol"]
    account, side = AccountId(row["account_id"]), Side(held["side"])
    fill = Execution(
        e["broker"], e["execution_id"], row["broker_order_id"], Symbol(symbol), side,
        Decimal(held["quantity"]), Decimal(held["price"]),
        dt.datetime.fromisoformat(held["executed_at"]), Decimal(held["fees"]),
    )  # fmt: skip
    trade = BookedTrade(UUID(held["trade_id"]), row["id"], fill, tx.now, None, ZERO)
    shares, cash = -side.sign * fill.quantity, side.sign * fill.amount + fill.fee
    costs = [
        one.change.cost
        for one in tables.changes.values()
        if one.symbol == symbol and one.change.kind is ChangeKind.OPENING
        and (one.change.quantity > 0) == (shares > 0)
    ]  # fmt: skip
    change = Change(ChangeKind.OPENING, shares, min(costs, default=fill.price), cash)
    at = dt.datetime.fromisoformat(e["reversed_at"])
    gone = BookedReversal(UUID(e["reversal_id"]), trade, tx.now, e["record_id"], at)
    tx.put(tables.reversals, e["execution_id"], gone)
    before = tables.positions.get(symbol, Position())
    tx.put(tables.changes, gone.id,
           BookedChange(gone.id, symbol, 0, change, ((None, shares),), tx.now, at))  # fmt: skip
    position = position_told(tables, symbol)
    tx.put(tables.positions, symbol, position)
    for leg, ours, ledger, amount in (
        (0, cash_account(account), CURRENCY, cash),
        (2, position_account(account, Symbol(symbol)), symbol, shares),
    ):
        theirs = capital_account(account, ledger)
        debit, credit = (theirs, ours) if amount > 0 else (ours, theirs)
        line = TransferId(UUID(e["reversal_legs"][leg]))
        if amount:
            call.commit([Transfer(line, debit, credit, abs(amount), TransferCode.REVERSAL,
                                  order_id=row["id"])])  # fmt: skip
    return _told(call, e, row, trade, position, position.realized_pnl - before.realized_pnl)


def _told(
    call: Call, e: dict[str, Any], row: dict[str, Any], trade: BookedTrade, position: Position,
    realized: Decimal,
) -> dict[str, Any]:  # fmt: skip
    """Write the order of an execution that was taken back, and tell of both."""
    tx, fill, status = call.tx, trade.execution, OrderStatus(row["status"])
    after = take_back(Progress(status, row["quantity"], row["filled_quantity"]), fill.quantity)
    new = row | {
        "filled_quantity": after.progress.filled_quantity,
        "filled_value": row["filled_value"] - fill.amount,
        "anomaly": after.anomaly or row["anomaly"],
        "event_seq": row["event_seq"] + 1,
        "updated_at": dt.datetime.fromisoformat(e["at"]),
    }
    tx.put(tx.tables.orders, new["id"], new)
    call.flag(new, row)
    call.tell(new, new["event_seq"], e["event"], status, status, after.anomaly, e,
              e["message_ids"][0])  # fmt: skip
    payload = TradeReversed(
        reversal_id=UUID(e["reversal_id"]), trade_id=trade.id, order_id=new["id"],
        account_id=new["account_id"], broker=fill.broker, execution_id=fill.execution_id,
        kind=e["reversal"], symbol=new["symbol"], side=fill.side,
        quantity=fill.quantity, price=fill.price, commission=ZERO, fees=fill.fee,
        executed_at=fill.executed_at, reversed_at=dt.datetime.fromisoformat(e["reversed_at"]),
        realized_pnl=realized, position_quantity=position.quantity,
        position_avg_cost=position.avg_cost, record_id=e["record_id"],
        strategy_id=trade.strategy_id,
    )  # fmt: skip
    tx.tell(SOURCE, TRADES_REVERSED, payload, new["correlation_id"],
            message_id=UUID(e["message_ids"][1]))  # fmt: skip
    return {
        "outcome": "reversed", "anomaly": after.anomaly, "order": standing(new),
        "realized_pnl": plain(realized), "position_quantity": plain(position.quantity),
        "position_avg_cost": plain(position.avg_cost),
    }  # fmt: skip


def activity(call: Call, e: dict[str, Any]) -> dict[str, Any]:
    """Book what the account did besides trading, once."""
    tx, tables, told = call.tx, call.tx.tables, e["activity"]
    identity = UUID(told["id"])
    known = any(UUID(line["id"]) in tables.ledger.transfers for line in e["lines"][:1])
    if identity in tables.activities or known:
        return {"outcome": "duplicate"}
    tx.put(tables.activities, identity, told["kind"])
    keys = _accounts(AccountId(told["account_id"]), told["symbol"])
    call.commit([
        Transfer(
            TransferId(UUID(line["id"])), keys[line["debit"]], keys[line["credit"]],
            Decimal(line["amount"]), TransferCode(told["code"]),
        )
        for line in e["lines"]
    ])  # fmt: skip
    if e["change"] is not None:
        _change(call, e, e["change"], identity)
    return {"outcome": "booked"}


def _accounts(account: AccountId, symbol: str) -> dict[str, AccountKey]:
    found = [cash_account(account)]
    if symbol:
        found.append(position_account(account, symbol))
    for ledger in (CURRENCY, symbol):
        if ledger:
            found += [fees_account(ledger), interest_account(ledger), corporate_account(ledger),
                      capital_account(account, ledger)]  # fmt: skip
    return {str(key.id): key for key in found}


def _change(call: Call, e: dict[str, Any], c: dict[str, Any], identity: UUID) -> None:
    tx, tables, symbol = call.tx, call.tx.tables, c["symbol"]
    at, quantity = dt.datetime.fromisoformat(c["effective_at"]), Decimal(c["quantity"])
    # It follows the entries that were executed before it, whenever they were booked.
    later = [
        one.entry
        for one in tables.trades.values()
        if one.execution.symbol == symbol and not one.replaces and one.execution.executed_at >= at
    ]
    after_entry = min(later) - 1 if later else last_entry(tables, symbol)
    change = Change(ChangeKind(c["kind"]), quantity, Decimal(c["cost"]), Decimal(c["amount"]))
    parts = strategy_parts(tables, symbol, quantity)
    booked = BookedChange(UUID(c["id"]), symbol, after_entry, change, parts, tx.now, at)
    before = tables.positions.get(symbol, Position())
    tx.put(tables.changes, booked.id, booked)
    position = position_told(tables, symbol)
    tx.put(tables.positions, symbol, position)
    payload = PositionChanged(
        change_id=booked.id, account_id=c["account_id"], symbol=symbol, kind=c["kind"],
        quantity=quantity, amount=change.amount, effective_at=at,
        realized_pnl=position.realized_pnl - before.realized_pnl,
        position_quantity=position.quantity, position_avg_cost=position.avg_cost,
        activity_id=e["activity"]["activity_id"],
        shares=tuple(StrategyPart(quantity=part, strategy_id=name) for name, part in parts),
    )  # fmt: skip
    tx.tell(SOURCE, POSITIONS_CHANGED, payload, identity, message_id=UUID(e["message_id"]))


def strategy_positions(tables: Tables) -> dict[tuple[str | None, str], Decimal]:
    """Return what each strategy, and nobody, holds: executions that stand, parts of splits."""
    held: dict[tuple[str | None, str], Decimal] = {}
    for trade in tables.standing():
        where = trade.strategy_id, trade.execution.symbol
        held[where] = held.get(where, ZERO) + trade.execution.side.sign * trade.execution.quantity
    for change in tables.changes.values():
        for name, part in change.parts:
            held[name, change.symbol] = held.get((name, change.symbol), ZERO) + part
    return held


def strategy_parts(
    tables: Tables, symbol: str, moved: Decimal
) -> Sequence[tuple[str | None, Decimal]]:
    """Return each strategy's part of shares that moved: the largest holder has what is left."""
    held = [
        (name, quantity)
        for (name, where), quantity in strategy_positions(tables).items()
        if where == symbol and quantity
    ]
    total = sum((quantity for _, quantity in held), ZERO)
    if not total:
        return ((None, moved),)
    held.sort(key=lambda one: (-abs(one[1]), one[0] is None, one[0] or ""))
    parts = [
        (name, (moved * quantity / total).quantize(PRICE_QUANTUM, rounding=ROUND_DOWN))
        for name, quantity in held
    ]
    left = moved - sum((part for _, part in parts), ZERO)
    return ((parts[0][0], parts[0][1] + left), *parts[1:])
