"""Trading objects in Alpaca's words: what REST answers and the trading stream carry."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from libs.common.domain.vocabulary import OrderClass
from libs.common.kernel.clock import from_ns
from libs.common.kernel.money import plain
from services.broker_simulator.engine.account import Valuation
from services.broker_simulator.engine.model import (
    Account,
    Activity,
    Asset,
    Execution,
    Order,
    Position,
    TradeUpdate,
    Watchlist,
)
from services.broker_simulator.wire_data import rfc3339

_PRICE = Decimal("0.00000001")


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _time(ns: int | None) -> str | None:
    return None if ns is None else rfc3339(ns)


def order_json(order: Order, asset_id: str, legs: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return an order; `legs` are its nested legs' JSON, None where they are not shown."""
    average = order.filled_value / order.filled_qty if order.filled_qty else None
    simple = order.order_class is OrderClass.SIMPLE
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.created_at),
        "updated_at": rfc3339(order.updated_at),
        "submitted_at": rfc3339(order.submitted_at),
        "filled_at": _time(order.filled_at),
        "expired_at": _time(order.expired_at),
        "expires_at": rfc3339(order.expires_at),
        "canceled_at": _time(order.canceled_at),
        "failed_at": _time(order.failed_at),
        "replaced_at": _time(order.replaced_at),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset_id,
        "symbol": order.symbol,
        "asset_class": "us_equity",
        "notional": _text(order.notional),
        "qty": _text(order.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": None if average is None else plain(average.quantize(_PRICE)),
        "order_class": "" if simple else str(order.order_class),
        "order_type": str(order.type),
        "type": str(order.type),
        "side": str(order.side),
        "position_intent": _intent(order),
        "time_in_force": str(order.tif),
        "limit_price": _text(order.limit_price),
        "stop_price": _text(order.stop_price),
        "status": str(order.status),
        "extended_hours": order.extended_hours,
        "legs": legs or None,
        "trail_percent": _text(order.trail_percent),
        "trail_price": _text(order.trail_price),
        "hwm": _text(order.hwm),
        "subtag": None,
        "source": None,
    }


def _intent(order: Order) -> str:
    return f"{order.side}_to_{'open' if order.opening else 'close'}"


def update_json(update: TradeUpdate, asset_id: str) -> dict[str, Any]:
    """Return the data of a `trade_updates` message."""
    legs = [order_json(leg, asset_id, None) for leg in update.legs]
    body: dict[str, Any] = {
        "event": update.event,
        "timestamp": rfc3339(update.ts),
        "at": rfc3339(update.ts),
        "order": order_json(update.order, asset_id, legs),
    }
    fill = update.execution
    if fill is not None:
        body |= {
            "execution_id": fill.id,
            "price": plain(fill.price),
            "qty": plain(fill.qty),
            "position_qty": plain(fill.position_qty),
        }
        if fill.previous is not None:
            body["previous_execution_id"] = fill.previous
    if update.reason is not None:
        body["reason"] = update.reason
    return body


def account_json(account: Account, value: Valuation) -> dict[str, Any]:
    """Return an account with its values at market."""
    power = plain(value.buying_power)
    return {
        "id": account.id,
        "account_number": account.number,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "buying_power": power,
        "regt_buying_power": power,
        "non_marginable_buying_power": plain(max(value.cash_available, Decimal(0))),
        "options_buying_power": "0",
        "cash": plain(account.cash),
        "accrued_fees": "0",
        "portfolio_value": plain(value.equity),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "created_at": rfc3339(account.created_at),
        "trade_suspended_by_user": account.suspend_trade,
        "multiplier": plain(account.multiplier),
        "shorting_enabled": not account.no_shorting and account.multiplier > 1,
        "equity": plain(value.equity),
        "last_equity": plain(account.last_equity),
        "long_market_value": plain(value.long_value),
        "short_market_value": plain(value.short_value),
        "position_market_value": plain(value.long_value + value.short_value),
        "initial_margin": plain(value.initial_margin),
        "maintenance_margin": plain(value.maintenance_margin),
        "last_maintenance_margin": plain(value.maintenance_margin),
        "sma": "0",
        "options_approved_level": 0,
        "options_trading_level": 0,
    }


def position_json(
    position: Position, asset: Asset, price: Decimal, last_day: Decimal, available: Decimal
) -> dict[str, Any]:
    """Return a holding valued at `price`, with yesterday's close `last_day`."""
    value = position.qty * price
    profit = value - position.cost
    today = position.qty * (price - last_day) if last_day else Decimal(0)
    change = (price - last_day) / last_day if last_day else Decimal(0)
    basis = abs(position.cost)
    base_today = abs(position.qty * last_day)
    return {
        "asset_id": asset.id,
        "symbol": asset.symbol,
        "exchange": asset.exchange,
        "asset_class": "us_equity",
        "asset_marginable": asset.marginable,
        "avg_entry_price": plain((position.cost / position.qty).quantize(_PRICE)),
        "qty": plain(position.qty),
        "qty_available": plain(available),
        "side": "long" if position.qty > 0 else "short",
        "market_value": _money(value),
        "cost_basis": _money(position.cost),
        "unrealized_pl": _money(profit),
        "unrealized_plpc": _ratio(profit, basis),
        "unrealized_intraday_pl": _money(today),
        "unrealized_intraday_plpc": _ratio(today, base_today),
        "current_price": plain(price),
        "lastday_price": plain(last_day),
        "change_today": plain(change.quantize(_PRICE)),
    }


def _money(value: Decimal) -> str:
    return plain(value.quantize(Decimal("0.0001")))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return plain((part / whole).quantize(_PRICE)) if whole else "0"


def asset_json(asset: Asset) -> dict[str, Any]:
    """Return an asset."""
    return {
        "id": asset.id,
        "class": "us_equity",
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active",
        "tradable": asset.tradable,
        "marginable": asset.marginable,
        "maintenance_margin_requirement": 25,
        "shortable": asset.shortable,
        "easy_to_borrow": asset.shortable,
        "fractionable": asset.fractionable,
        "attributes": [],
    }


def activity_id(ts: int, number: str) -> str:
    """Return an activity's id as Alpaca forms it: `20190304093001123::<uuid>`."""
    moment = from_ns(ts)
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}::{number}"


def fill_json(fill: Execution) -> dict[str, Any]:
    """Return an execution as a trade activity; the execution's id stands after `::`."""
    kind = "fill" if fill.leaves_qty == 0 else "partial_fill"
    body = {
        "id": activity_id(fill.ts, fill.id),
        "account_id": fill.account,
        "activity_type": "FILL",
        "transaction_time": rfc3339(fill.ts),
        "type": kind if fill.amendment is None else str(fill.amendment),
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "side": str(fill.side),
        "symbol": fill.symbol,
        "leaves_qty": plain(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": plain(fill.cum_qty),
        "order_status": str(fill.order_status),
    }
    if fill.previous is not None:
        body["previous_execution_id"] = fill.previous
    return body


def activity_json(activity: Activity) -> dict[str, Any]:
    """Return a non-trade activity."""
    return {
        "id": activity_id(activity.ts, activity.id),
        "account_id": activity.account,
        "activity_type": activity.activity_type,
        "activity_sub_type": activity.sub_type,
        "date": f"{from_ns(activity.ts):%Y-%m-%d}",
        "net_amount": plain(activity.net_amount),
        "description": activity.description,
        "status": "executed",
        "symbol": activity.symbol,
        "qty": _text(activity.qty),
        "per_share_amount": _text(activity.per_share_amount),
    }


def watchlist_json(
    watchlist: Watchlist, account: str, assets: list[Asset] | None
) -> dict[str, Any]:
    """Return a watchlist, with its assets where asked for."""
    body: dict[str, Any] = {
        "id": watchlist.id,
        "account_id": account,
        "name": watchlist.name,
        "created_at": rfc3339(watchlist.created_at),
        "updated_at": rfc3339(watchlist.updated_at),
    }
    if assets is not None:
        body["assets"] = [asset_json(asset) for asset in assets]
    return body
