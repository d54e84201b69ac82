"""Trades that are undone or changed after the fact: busts and corrections.

The execution that was reported stays on record; a second one names it as `previous` and says what
became of it. Cash, position, realised profit and the order's filled quantity are as if only what
stands had ever happened. The order's state stays: what had ended stays ended, what is open has
the busted shares to fill again.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from libs.common.domain.vocabulary import Side
from libs.common.kernel.errors import InvalidInputError
from libs.common.kernel.money import money
from services.broker_simulator.engine.account import apply_execution
from services.broker_simulator.engine.model import (
    SHARE_ACTIVITIES,
    ZERO,
    Account,
    Activity,
    Amendment,
    Execution,
    Order,
    Position,
)
from services.broker_simulator.engine.registry import Registry


def bust(registry: Registry, execution_id: str, ns: int) -> Execution:
    """Undo an execution; returns the record of it. Raises InvalidInputError.

    A buy of 10 for 1000.00 with a fee of 1.00 that is busted gives 1001.00 back and takes 10.
    """
    old = standing(registry, execution_id)
    return _amend(registry, old, Amendment.BUST, old.qty, old.price, ns)


def correct(
    registry: Registry, execution_id: str, qty: Decimal | None, price: Decimal | None, ns: int
) -> Execution:
    """Put another quantity or price in the place of an execution's; returns the new one.

    A correction may itself be corrected or busted. Raises InvalidInputError.
    """
    old = standing(registry, execution_id)
    new_qty, new_price = qty or old.qty, price or old.price
    if (new_qty, new_price) == (old.qty, old.price):
        raise InvalidInputError(f"execution {execution_id}: the correction changes nothing")
    order = registry.orders[old.order_id]
    if order.qty is not None and order.filled_qty - old.qty + new_qty > order.qty:
        raise InvalidInputError(f"execution {execution_id}: {new_qty} is more than was ordered")
    return _amend(registry, old, Amendment.CORRECT, new_qty, new_price, ns)


def standing(registry: Registry, execution_id: str) -> Execution:
    """Return an execution that counts. Raises InvalidInputError where there is none."""
    found = next((e for e in registry.executions if e.id == execution_id), None)
    if found is None or found.amendment is Amendment.BUST:
        raise InvalidInputError(f"execution {execution_id!r} is not known")
    if found.ended_by is not None:
        raise InvalidInputError(f"execution {execution_id} was amended by {found.ended_by}")
    later = (a for a in registry.activities if _moves_shares(a, found) and a.ts >= found.ts)
    if next(later, None) is not None:
        raise InvalidInputError(f"execution {execution_id} is older than a split: not amended")
    return found


def _amend(
    registry: Registry, old: Execution, kind: Amendment, qty: Decimal, price: Decimal, ns: int
) -> Execution:
    account, order = registry.accounts[old.account], registry.orders[old.order_id]
    value = money(qty * price)
    counts = kind is Amendment.CORRECT
    fee = registry.terms.fees.fee(old.side, qty, value) if counts else old.fee
    realized_before = _replay(registry, account, old.symbol).realized_pnl
    new = msgspec.structs.replace(
        old,
        id=str(registry.ids.new()),
        seq=registry.next_sequence(),
        ts=ns,
        qty=qty,
        price=price,
        money=value,
        fee=fee,
        amendment=kind,
        previous=old.id,
        first_seq=old.first_seq or old.seq,
        ended_by=None,
    )
    registry.replace_execution(msgspec.structs.replace(old, ended_by=new.id))
    _count(order, old, Decimal(-1))
    account.cash += old.side.sign * old.money + old.fee
    account.fees_paid -= old.fee
    if counts:
        _count(order, new, Decimal(1))
        account.cash -= new.side.sign * new.money + new.fee
        account.fees_paid += new.fee
    new = msgspec.structs.replace(
        new, cum_qty=order.filled_qty, leaves_qty=order.remaining if order.is_open else ZERO
    )
    registry.add_execution(new)
    after = _replay(registry, account, old.symbol)
    account.realized_pnl += after.realized_pnl - realized_before
    _hold(account, old.symbol, after.positions.get(old.symbol))
    new = msgspec.structs.replace(new, position_qty=registry.position_qty(account.id, old.symbol))
    registry.replace_execution(new)
    order.updated_at = ns
    registry.changes.accounts[account.id] = account
    registry.touch(order)
    registry.emit(str(kind), order, ns, new, reason="TRADE_BUST" if not counts else None)
    return new


def _count(order: Order, execution: Execution, sign: Decimal) -> None:
    order.filled_qty += sign * execution.qty
    order.filled_value += sign * execution.qty * execution.price
    order.filled_money += sign * execution.money


def _hold(account: Account, symbol: str, position: Position | None) -> None:
    if position is None:
        account.positions.pop(symbol, None)
    else:
        account.positions[symbol] = position


def _replay(registry: Registry, account: Account, symbol: str) -> Account:
    """Return an empty account to which everything happened that stands in `symbol`."""
    scratch = Account(
        id="", key="", number="", created_at=0, cash=ZERO, opening_cash=ZERO,
        multiplier=account.multiplier, last_equity=ZERO, positions={},
    )  # fmt: skip
    trades = [e for e in registry.executions if (e.account, e.symbol) == (account.id, symbol)]
    # A correction stands where the trade stood that it corrects.
    trades = sorted((e for e in trades if e.counts), key=lambda e: e.first_seq or e.seq)
    shares = [
        a
        for a in registry.activities
        if (a.account, a.symbol) == (account.id, symbol) and a.activity_type in SHARE_ACTIVITIES
    ]
    original_ts = {e.id: e.ts for e in registry.executions}
    for trade in trades:
        at = original_ts[_first(registry, trade)]
        while shares and shares[0].ts <= at:
            _move_shares(scratch, shares.pop(0))
        apply_execution(scratch, symbol, trade.side, trade.qty, trade.money, ZERO)
    for activity in shares:
        _move_shares(scratch, activity)
    return scratch


def _first(registry: Registry, execution: Execution) -> str:
    """Return the id of the execution that began the chain of corrections."""
    by_id = {e.id: e for e in registry.executions} if execution.previous else {}
    while execution.previous is not None:
        execution = by_id[execution.previous]
    return execution.id


def _move_shares(scratch: Account, activity: Activity) -> None:
    assert activity.symbol is not None
    position = scratch.positions.get(activity.symbol)
    if position is None or activity.qty is None:
        return
    if activity.activity_type == "CIL":
        side = Side.SELL if activity.qty < 0 else Side.BUY
        value = abs(activity.net_amount)
        apply_execution(scratch, activity.symbol, side, abs(activity.qty), value, ZERO)
    else:
        position.qty += activity.qty


def _moves_shares(activity: Activity, execution: Execution) -> bool:
    return activity.activity_type in SHARE_ACTIVITIES and (
        (activity.account, activity.symbol) == (execution.account, execution.symbol)
    )
