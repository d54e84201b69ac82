"""What is handed to the server-side function `executor_write`, entry by entry.

The function's text in migrations/sql is the other half of this contract.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from libs.common.contracts.messages import OrderSpec
from libs.common.domain.activities import Activity
from libs.common.domain.booking import Leg, leg_id, release_id, reversal_line_id
from libs.common.domain.executions import Execution, ExecutionKey, Reversal
from libs.common.domain.ledger import (
    CURRENCY,
    AccountKey,
    Transfer,
    capital_account,
    cash_account,
    fees_account,
    market_account,
    position_account,
)
from libs.common.domain.orders import OrderEvent
from libs.common.domain.vocabulary import Side
from libs.common.kernel.clock import format_ns, from_ns
from libs.common.kernel.ids import (
    AccountId,
    IdSource,
    OrderId,
    Symbol,
    TradeId,
    TransferId,
    derived_id,
)
from libs.common.kernel.money import ZERO, money, plain
from services.trade_executor.model import Order
from services.trade_executor.ports import Heir, Move, Recorded

LEG_KEYS = (
    "take_profit_limit_price",
    "stop_loss_stop_price",
    "stop_loss_limit_price",
)


def trade_id(execution: Execution | ExecutionKey) -> TradeId:
    """Return the trade's id: the same execution gives the same id."""
    return TradeId(derived_id("trade", execution.broker, execution.execution_id))


def accounts_of(account: AccountId, symbol: Symbol) -> dict[str, AccountKey]:
    """Return the ledger accounts that trading `symbol` touches, by their role."""
    return {
        "cash": cash_account(account),
        "market_cash": market_account(CURRENCY),
        "position": position_account(account, symbol),
        "market_position": market_account(symbol),
        "fees": fees_account(),
    }


class EntryMaker:
    """Makes entries; remembers the account ids of each symbol."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._accounts: dict[tuple[str, str], dict[str, str]] = {}

    def accounts(self, account_id: str, symbol: str) -> dict[str, str]:
        """Return account ids by role, and the currency."""
        key = (account_id, symbol)
        if key not in self._accounts:
            keys = accounts_of(AccountId(account_id), Symbol(symbol))
            self._accounts[key] = {role: str(name.id) for role, name in keys.items()}
            self._accounts[key]["currency"] = CURRENCY
        return self._accounts[key]

    def create(
        self,
        order: Order,
        recorded: Sequence[Recorded],
        hold: Transfer | None,
        causation_id: UUID | None,
        now_ns: int,
    ) -> dict[str, Any]:
        """Return the entry for a new order."""
        return {
            "kind": "create",
            "order": _row(order, hold, from_ns(now_ns)),
            "hold": hold
            and {"debit": hold.debit.id, "credit": hold.credit.id, "ledger": hold.ledger},
            "events": [
                {
                    "event": one.event,
                    "from": one.from_status,
                    "to": one.to_status,
                    "reason": one.reason,
                    "message_id": self._ids.new(),
                }
                for one in recorded
            ],
            "causation_id": causation_id,
            **_times(now_ns),
        }

    def move(self, order: Order, move: Move, now_ns: int) -> dict[str, Any]:
        """Return the entry for a state change; an end releases the hold."""
        release = order.hold_id is not None and move.to_status.is_terminal
        return {
            "kind": "move",
            "order_id": order.id,
            "expect": order.status,
            "to": move.to_status,
            "event": move.event,
            "reason": move.reason,
            "anomaly": move.anomaly,
            "reject_reason": move.reject_reason,
            "broker_order_id": move.broker_order_id,
            "client_order_id": move.client_order_id,
            "attempt": move.attempt,
            "parent_id": move.parent_id,
            "external": move.external,
            "strategy_id": move.strategy_id,
            "submitted_at": move.submitted_at,
            "payload": move.payload,
            "release": release,
            "release_id": release_id(order.hold_id) if release and order.hold_id else None,
            "accounts": self.accounts(order.account_id, order.symbol) if release else None,
            "heir": move.heir and self._heir(move.heir),
            "message_id": self._ids.new(),
            "causation_id": None,
            **_times(now_ns),
        }

    def _heir(self, heir: Heir) -> dict[str, Any]:
        order, hold = heir.order, heir.hold
        return {
            "id": order.id,
            "quantity": _text(heir.quantity),
            "release_id": release_id(order.hold_id) if order.hold_id else None,
            "accounts": self.accounts(order.account_id, order.symbol),
            "hold": hold
            and {
                "id": hold.id,
                "amount": str(hold.amount),
                "debit": hold.debit.id,
                "credit": hold.credit.id,
                "ledger": hold.ledger,
            },
            "message_id": self._ids.new(),
        }

    def book(self, order: Order, execution: Execution, now_ns: int) -> dict[str, Any]:
        """Return the entry for one execution."""
        trade = trade_id(execution)
        return {
            "kind": "book",
            "order_id": order.id,
            "trade_id": trade,
            "broker": execution.broker,
            "execution_id": execution.execution_id,
            "broker_order_id": execution.broker_order_id,
            "side": execution.side,
            "quantity": str(execution.quantity),
            "price": str(execution.price),
            "commission": "0",
            "fees": str(execution.fee),
            "executed_at": execution.executed_at,
            "venue": None,
            "liquidity": None,
            "payload": None,
            "legs": [leg_id(trade, leg) for leg in Leg],
            "accounts": self.accounts(order.account_id, order.symbol),
            "message_ids": [self._ids.new(), self._ids.new()],
            "causation_id": None,
            **_times(now_ns),
        }

    def reverse(
        self, order: Order, reversal: Reversal, held: Execution | None, now_ns: int
    ) -> dict[str, Any]:
        """Return the entry that takes an execution back, with what stands in its place. `held` is
        the execution itself where the opening balance holds it."""
        legs = [leg_id(trade_id(reversal.key), leg) for leg in Leg]
        replacement = reversal.replacement
        return {
            "kind": "reverse",
            "order_id": order.id,
            "broker": reversal.broker,
            "execution_id": reversal.original,
            "reversal_id": derived_id("reversal", reversal.broker, reversal.original),
            "reversal": reversal.kind,
            "record_id": reversal.record_id or None,
            "reversed_at": reversal.reversed_at,
            "event": OrderEvent.BUSTED if replacement is None else OrderEvent.CORRECTED,
            "payload": {"execution_id": reversal.original}
            | ({"replacement_id": replacement.execution_id} if replacement else {}),
            "legs": legs,
            "reversal_legs": [reversal_line_id(leg) for leg in legs],
            "release_id": release_id(order.hold_id) if order.hold_id else None,
            "accounts": self.accounts(order.account_id, order.symbol),
            "message_ids": [self._ids.new(), self._ids.new()],
            "held": held and _held(order, held),
            "then": self.book(order, replacement, now_ns) if replacement else None,
            **_times(now_ns),
        }

    def restate(self, order: Order, terms: OrderSpec, now_ns: int) -> dict[str, Any]:
        """Return the entry that changes what an order asks for."""
        changed = {
            name: plain(value)
            for name in ("quantity", "limit_price", "stop_price", "trail_price")
            if (value := getattr(terms, name)) is not None and value != getattr(order.spec, name)
        }
        return {
            "kind": "restate",
            "order_id": order.id,
            "expect": order.status,
            "to": order.status,
            "event": OrderEvent.RESTATED,
            "reason": "changed by the venue",
            "payload": changed,
            **changed,
            "hold": _text(restated_hold(order, terms)),
            "hold_id": self._ids.new(),
            "release_id": release_id(order.hold_id) if order.hold_id else None,
            "accounts": self.accounts(order.account_id, order.symbol),
            "message_id": self._ids.new(),
            **_times(now_ns),
        }

    def activity(self, activity: Activity, account: AccountId, now_ns: int) -> dict[str, Any]:
        """Return the entry for money or shares that moved without a trade."""
        amount, change = money(activity.amount), activity.change
        identity = derived_id("activity", activity.broker, activity.id)
        lines = []
        if amount:
            lines.append(
                _line(
                    TransferId(derived_id("cash_activity", activity.id)),
                    cash_account(account),
                    activity.counterparty(account, CURRENCY),
                    amount,
                )
            )
        if change is not None:
            lines.append(
                _line(
                    TransferId(derived_id("share_activity", activity.id)),
                    position_account(account, activity.symbol),
                    activity.counterparty(account, activity.symbol),
                    activity.quantity,
                )
            )
        return {
            "kind": "activity",
            "activity": {
                "id": identity,
                "account_id": account,
                "broker": activity.broker,
                "activity_id": activity.id,
                "kind": activity.kind,
                "code": activity.code,
                "symbol": activity.symbol,
                "amount": str(amount),
                "quantity": str(activity.quantity),
                "description": activity.description,
                "executed_at": activity.executed_at,
            },
            "lines": lines,
            "change": change
            and {
                "id": derived_id("position_change", activity.id),
                "account_id": account,
                "symbol": activity.symbol,
                "kind": change,
                "quantity": str(activity.quantity),
                "cost": str(activity.price),
                "amount": str(amount),
                "effective_at": activity.executed_at,
            },
            "message_id": self._ids.new(),
            **_times(now_ns),
        }


def _held(order: Order, execution: Execution) -> dict[str, Any]:
    account = AccountId(order.account_id)
    return {
        "trade_id": trade_id(execution),
        "side": execution.side,
        "quantity": str(execution.quantity),
        "price": str(execution.price),
        "fees": str(execution.fee),
        "executed_at": execution.executed_at,
        "capital_cash": capital_account(account).id,
        "capital_position": capital_account(account, order.symbol).id,
    }


def restated_hold(order: Order, terms: OrderSpec) -> Decimal | None:
    """Return what the order holds under other terms: of a sell what it has yet to sell, of a buy
    the money it held, for a split leaves the worth of an order as it was."""
    if order.hold_amount is None or terms.quantity is None or order.spec.side is Side.BUY:
        return order.hold_amount
    return max(ZERO, terms.quantity - order.filled_quantity)


def _line(
    transfer_id: TransferId, ours: AccountKey, other: AccountKey, amount: Decimal
) -> dict[str, Any]:
    """Move a signed amount into `ours` from `other`."""
    debit, credit = (other, ours) if amount > 0 else (ours, other)
    return {
        "id": transfer_id,
        "debit": debit.id,
        "credit": credit.id,
        "ledger": ours.ledger,
        "amount": str(abs(amount)),
    }


def _times(now_ns: int) -> dict[str, Any]:
    return {"at": from_ns(now_ns), "ts": format_ns(now_ns)}


def _row(order: Order, hold: Transfer | None, now: dt.datetime) -> dict[str, Any]:
    """Return the columns of `orders`; all that is NOT NULL is named."""
    spec = order.spec
    legs = {key: str(value) for key in LEG_KEYS if (value := getattr(spec, key)) is not None}
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "attempt": order.attempt,
        "broker": order.broker,
        "broker_order_id": order.broker_order_id,
        "account_id": order.account_id,
        "symbol": spec.symbol,
        "side": spec.side,
        "order_type": spec.order_type,
        "order_class": spec.order_class,
        "parent_id": order.parent_id,
        "replaces_id": order.replaces_id,
        "quantity": _text(spec.quantity),
        "notional": _text(spec.notional),
        "filled_quantity": str(order.filled_quantity),
        "filled_value": str(order.filled_value),
        "limit_price": _text(spec.limit_price),
        "stop_price": _text(spec.stop_price),
        "trail_price": _text(spec.trail_price),
        "trail_percent": _text(spec.trail_percent),
        "legs": legs or None,
        "time_in_force": spec.time_in_force,
        "extended_hours": spec.extended_hours,
        "status": order.status,
        "anomaly": order.anomaly,
        "external": order.external,
        "protective": order.protective,
        "reducing": order.reducing,
        "strategy_id": order.strategy_id,
        "signal_id": order.signal_id,
        "request_id": order.request_id,
        "idempotency_key": order.idempotency_key,
        "request": order.request,
        "succession": order.succession
        and {"total": _text(order.succession.total), "hold": _text(order.succession.hold)},
        "risk_assessment_id": order.risk_assessment_id,
        "generation": order.generation,
        "correlation_id": order.correlation_id,
        "event_seq": order.event_seq,
        "hold_id": hold and hold.id,
        "hold_amount": hold and str(hold.amount),
        "created_at": order.created_at,
        "updated_at": now,
        "submitted_at": order.submitted_at,
        "expires_at": order.expires_at,
        "reject_reason": order.reject_reason,
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def order_id_of_external(broker: str, broker_order_id: str) -> OrderId:
    """Return our id of an order that we did not make; the same order gives the same id."""
    return OrderId(derived_id("external_order", broker, broker_order_id))
