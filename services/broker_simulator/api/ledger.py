"""The truth about an account, for comparison by others."""

from __future__ import annotations

from typing import Any

from libs.common.kernel.clock import format_ns
from libs.common.kernel.money import plain
from services.broker_simulator.broker import Broker
from services.broker_simulator.engine.model import Account, Amendment, Execution
from services.broker_simulator.wire_trading import order_json


def ledger_body(broker: Broker, account: Account) -> dict[str, Any]:
    """Return one account's truth, amounts as strings.

    `executions` are all that were ever reported; what a bust or correction took back has `counts`
    false. `amendments` are the busts and corrections (a correction stands in both lists).
    """
    registry = broker.registry
    trades = [e for e in registry.executions if e.account == account.id]
    orders = (registry.orders[i] for i in registry.account_orders[account.id])
    return {
        "id": account.id,
        "key": account.key,
        "number": account.number,
        "cash": plain(account.cash),
        "opening_cash": plain(account.opening_cash),
        "realized_pnl": plain(account.realized_pnl),
        "fees_paid": plain(account.fees_paid),
        "positions": [
            {"symbol": p.symbol, "qty": plain(p.qty), "cost": plain(p.cost)}
            for p in sorted(account.positions.values(), key=lambda p: p.symbol)
        ],
        "orders": [order_json(o, broker.asset_id(o.symbol), None) for o in orders],
        "executions": [_execution(broker, e) for e in trades if e.amendment is not Amendment.BUST],
        "amendments": [
            {**_execution(broker, e), "kind": str(e.amendment)}
            for e in trades
            if e.amendment is not None
        ],
        "activities": [
            {
                "id": a.id,
                "type": a.activity_type,
                "sub_type": a.sub_type,
                "symbol": a.symbol,
                "qty": None if a.qty is None else plain(a.qty),
                "net_amount": plain(a.net_amount),
                "ts": format_ns(a.ts),
            }
            for a in registry.activities
            if a.account == account.id
        ],
    }


def _execution(broker: Broker, e: Execution) -> dict[str, Any]:
    return {
        "execution_id": e.id,
        "previous_execution_id": e.previous,
        "counts": e.counts,
        "order_id": e.order_id,
        "client_order_id": broker.registry.orders[e.order_id].client_order_id,
        "symbol": e.symbol,
        "side": e.side.value,
        "qty": plain(e.qty),
        "price": plain(e.price),
        "money": plain(e.money),
        "fee": plain(e.fee),
        "ts": format_ns(e.ts),
    }
