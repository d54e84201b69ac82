"""Figures of the account."""

from __future__ import annotations

from decimal import Decimal

from prometheus_client import Counter, Gauge

from services.portfolio.logic import Valuation

EQUITY = Gauge("portfolio_equity", "Cash plus market value of all positions, USD")
CASH = Gauge("portfolio_cash", "Cash balance, USD")
HELD = Gauge("portfolio_cash_held", "Cash that open orders reserve, USD")
DAY_PNL = Gauge("portfolio_day_pnl", "Profit of the trading day after fees, USD")
TOTAL_PNL = Gauge("portfolio_total_pnl", "Profit ever after fees, USD")
REALIZED = Gauge("portfolio_realized_pnl", "Realised profit ever before fees, USD")
UNREALIZED = Gauge("portfolio_unrealized_pnl", "Unrealised profit, USD")
FEES = Gauge("portfolio_fees", "Commissions and fees ever paid, USD")
LONG = Gauge("portfolio_long_value", "Market value of long positions, USD")
SHORT = Gauge("portfolio_short_value", "Market value of short positions (negative), USD")
GROSS = Gauge("portfolio_gross_exposure", "Long minus short value, USD")
NET = Gauge("portfolio_net_exposure", "Long plus short value, USD")
POSITIONS = Gauge("portfolio_positions", "Open positions")
STALE = Gauge("portfolio_stale_positions", "Positions valued at an old price")
UPDATES = Counter("portfolio_updates_total", "Updates published")
RELOADS = Counter("portfolio_book_reloads_total", "Times that the book was read")


def show(values: Valuation, day_pnl: Decimal) -> None:
    """Set every gauge to the account's values."""
    for gauge, amount in (*_parts(values), (DAY_PNL, day_pnl)):
        gauge.set(float(amount))
    POSITIONS.set(len(values.positions))
    STALE.set(len(values.stale))


def _parts(values: Valuation) -> tuple[tuple[Gauge, Decimal], ...]:
    return (
        (EQUITY, values.equity),
        (CASH, values.cash),
        (HELD, values.held),
        (TOTAL_PNL, values.total_pnl),
        (REALIZED, values.realized_pnl),
        (UNREALIZED, values.unrealized_pnl),
        (FEES, values.fees),
        (LONG, values.long_value),
        (SHORT, values.short_value),
        (GROSS, values.gross),
        (NET, values.net),
    )
