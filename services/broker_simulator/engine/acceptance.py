"""From a ticket to an order in the books: the account's checks, reservations and legs."""

from __future__ import annotations

from decimal import Decimal

from libs.common.domain.vocabulary import OrderClass, OrderType, Side, TimeInForce
from services.broker_simulator.engine import rules
from services.broker_simulator.engine.account import reserved_shares
from services.broker_simulator.engine.model import ZERO, Account, Asset, Order, Role, Status
from services.broker_simulator.engine.refusals import BrokerRefusal, forbidden, unprocessable
from services.broker_simulator.engine.registry import Registry
from services.broker_simulator.engine.ticket import Ticket

_MARKETLIKE = frozenset({OrderType.MARKET, OrderType.STOP, OrderType.TRAILING_STOP})


class Acceptance:
    """Decides whether an account may have an order, and writes it down with its legs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def accept(self, account: Account, ticket: Ticket, ns: int) -> Order:
        """Return the new root order, entered with its legs. Raises BrokerRefusal."""
        registry = self._registry
        asset = registry.assets.get(ticket.symbol)
        rules.check_form(ticket, asset)
        assert asset is not None
        rules.check_session(ticket, registry.calendar, ns)
        client_id = self.free_client_id(account, ticket.client_order_id)
        self._check_account(account, ticket)
        self._check_wash_trade(account, ticket)
        price = self._hold_price(ticket)
        opening = self._check_position(account, ticket, asset, price, ns)
        order = self._order(account, ticket, client_id, ns, opening=opening, hold_price=price)
        registry.add_order(order)
        self._add_legs(order, ticket, ns)
        return order

    def free_client_id(self, account: Account, wanted: str | None) -> str:
        """Return `wanted`, or a fresh one. Raises BrokerRefusal when it was used before."""
        client_id = wanted or str(self._registry.ids.new())
        if (account.id, client_id) in self._registry.by_client_id:
            raise BrokerRefusal(422, 40010001, "client_order_id must be unique")
        return client_id

    def check_buying_power(self, account: Account, cost: Decimal, released: Decimal = ZERO) -> None:
        """Refuse a hold of `cost` that the account cannot bear, `released` being given back."""
        available = self._registry.valuation(account).buying_power + released
        if cost > available:
            forbidden(
                "insufficient buying power", buying_power=str(available), cost_basis=str(cost)
            )

    def _check_account(self, account: Account, ticket: Ticket) -> None:
        if account.suspend_trade:
            forbidden("trade suspended by user")
        if ticket.is_fractional and not account.fractional_trading:
            forbidden("fractional trading is disabled for this account")

    def _check_wash_trade(self, account: Account, ticket: Ticket) -> None:
        if not self._registry.terms.wash_trade_check:
            return
        limit = _limit_of(ticket)
        for other in self._registry.open_orders(account.id, ticket.symbol):
            if other.side is ticket.side or other.status is Status.HELD:
                continue
            if other.type in _MARKETLIKE or limit is None:
                reason = "opposite side market/stop order exists"
            elif other.limit_price is not None and (
                (limit - other.limit_price) * ticket.side.sign >= 0
            ):
                reason = "opposite side limit order exists"
            else:
                continue
            forbidden(
                "potential wash trade detected. use complex orders",
                reject_reason=reason,
                existing_order_id=other.id,
            )

    def _hold_price(self, ticket: Ticket) -> Decimal:
        """Return what a share may cost at worst: the limit, or a few per cent above the market."""
        limit = _limit_of(ticket)
        if limit is not None:
            return limit
        margin = self._registry.terms.market_hold
        if ticket.stop_price is not None:
            return ticket.stop_price * margin
        book = self._registry.books[ticket.symbol]
        price = book.best(ticket.side).price or book.mark
        return price * margin

    def _check_position(
        self, account: Account, ticket: Ticket, asset: Asset, price: Decimal, ns: int
    ) -> bool:
        """Reserve shares or buying power; returns whether the order opens exposure."""
        held = self._registry.position_qty(account.id, ticket.symbol)
        closes = held * ticket.side.sign < 0
        if ticket.order_class is OrderClass.OCO and not closes:
            forbidden("oco orders must be exit orders")
        cost = ticket.notional if ticket.notional is not None else (ticket.qty or ZERO) * price
        if closes:
            self._check_available(account, ticket, abs(held), price)
            return False
        if ticket.side is Side.SELL:
            self._check_short(account, ticket, asset, ns)
        self.check_buying_power(account, cost)
        return True

    def _check_available(
        self, account: Account, ticket: Ticket, held: Decimal, price: Decimal
    ) -> None:
        open_orders = self._registry.open_orders(account.id, ticket.symbol)
        reserved = reserved_shares(open_orders, ticket.side)
        wanted = ticket.qty
        if wanted is None:
            mark = self._registry.mark(ticket.symbol) or price
            wanted = round((ticket.notional or ZERO) / mark, 8)
        if wanted > held - reserved:
            forbidden(
                f"insufficient qty available for order (requested: {wanted}, "
                f"available: {held - reserved})",
                symbol=ticket.symbol,
                existing_qty=str(held),
                held_for_orders=str(reserved),
                available=str(held - reserved),
            )

    def _check_short(self, account: Account, ticket: Ticket, asset: Asset, ns: int) -> None:
        if account.no_shorting or account.multiplier <= 1:
            forbidden("account is not allowed to short")
        if not asset.shortable:
            unprocessable(f'asset "{asset.symbol}" cannot be sold short')
        if ticket.is_fractional:
            unprocessable("fractional orders cannot be sold short")

    def _order(
        self,
        account: Account,
        ticket: Ticket,
        client_id: str,
        ns: int,
        *,
        opening: bool,
        hold_price: Decimal,
    ) -> Order:
        registry = self._registry
        order_id = str(registry.ids.new())
        return Order(
            id=order_id,
            seq=registry.next_sequence(),
            account=account.id,
            client_order_id=client_id,
            symbol=ticket.symbol,
            side=ticket.side,
            type=ticket.type,
            tif=ticket.tif,
            order_class=ticket.order_class,
            extended_hours=ticket.extended_hours,
            status=Status.PENDING_NEW,
            created_at=ns,
            updated_at=ns,
            submitted_at=ns,
            expires_at=rules.expires_at(ticket.tif, ticket.extended_hours, registry.calendar, ns),
            group=order_id,
            opening=opening,
            hold_price=hold_price,
            qty=ticket.qty,
            notional=ticket.notional,
            limit_price=_limit_of(ticket),
            stop_price=ticket.stop_price,
            trail_price=ticket.trail_price,
            trail_percent=ticket.trail_percent,
        )

    def _add_legs(self, root: Order, ticket: Ticket, ns: int) -> None:
        exit_side = root.side if root.order_class is OrderClass.OCO else root.side.opposite
        if ticket.take_profit is not None and root.order_class is not OrderClass.OCO:
            self._add_leg(
                root, exit_side, Role.TAKE_PROFIT, ticket.take_profit.limit_price, None, ns
            )
        if ticket.stop_loss is not None:
            leg = ticket.stop_loss
            self._add_leg(root, exit_side, Role.STOP_LOSS, leg.limit_price, leg.stop_price, ns)

    def _add_leg(
        self,
        root: Order,
        side: Side,
        role: Role,
        limit: Decimal | None,
        stop: Decimal | None,
        ns: int,
    ) -> None:
        registry = self._registry
        if stop is None:
            kind = OrderType.LIMIT
        else:
            kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
        leg = Order(
            id=str(registry.ids.new()),
            seq=registry.next_sequence(),
            account=root.account,
            client_order_id=str(registry.ids.new()),
            symbol=root.symbol,
            side=side,
            type=kind,
            tif=root.tif,
            order_class=root.order_class,
            extended_hours=False,
            status=Status.HELD,
            created_at=ns,
            updated_at=ns,
            submitted_at=ns,
            expires_at=root.expires_at,
            group=root.id,
            opening=False,
            hold_price=ZERO,
            qty=root.qty,
            limit_price=limit,
            stop_price=stop,
            parent=root.id,
            role=role,
        )
        root.legs = [*root.legs, leg.id]
        registry.add_order(leg)


def _limit_of(ticket: Ticket) -> Decimal | None:
    if ticket.order_class is OrderClass.OCO and ticket.take_profit is not None:
        return ticket.take_profit.limit_price
    return ticket.limit_price


def is_auction(tif: TimeInForce) -> bool:
    """Tell whether the order trades in an auction only."""
    return tif in {TimeInForce.OPG, TimeInForce.CLS}
