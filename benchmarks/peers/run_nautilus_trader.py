"""nautilus_trader: an event engine in Cython and Rust, strategies in Python.

A bar comes as its open (a quote without spread) and, as it closes, the bar. Orders travel for one
nanosecond, so what is decided on a close meets the next open. The currency has eight decimals: with
the dollar's two each fee would be rounded to the cent. Only the engine's run is timed, not the
making of its data.
"""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

from clock import CASH, FEE, SHARES, frame
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.backtest.models import LatencyModel
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import Currency
from nautilus_trader.model.data import Bar, BarType, QuoteTick
from nautilus_trader.model.enums import AccountType, CurrencyType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

MONEY = Currency("XTW", 8, 0, "eight decimals", CurrencyType.FIAT)
HERE = Venue("SIM")
NAME = InstrumentId(Symbol("S000"), HERE)
BARS = BarType.from_str("S000.SIM-1-MINUTE-LAST-EXTERNAL")
MINUTE = 60 * 10**9


class Crossover(Strategy):  # type: ignore[misc]
    """The rule on the library's own averages."""

    def on_start(self) -> None:
        """Ask for the bars."""
        self.fast, self.slow = SimpleMovingAverage(10), SimpleMovingAverage(30)
        self.held, self.fills = False, 0
        self.register_indicator_for_bars(BARS, self.fast)
        self.register_indicator_for_bars(BARS, self.slow)
        self.subscribe_bars(BARS)

    def on_bar(self, bar: Bar) -> None:
        """Buy or sell at the next open."""
        if not self.slow.initialized:
            return
        wanted = self.fast.value > self.slow.value
        if wanted != self.held:
            self.held = wanted
            side = OrderSide.BUY if wanted else OrderSide.SELL
            self.submit_order(self.order_factory.market(NAME, side, Quantity.from_int(SHARES)))

    def on_order_filled(self, event: Any) -> None:
        """Count what was filled."""
        self.fills += 1


def events() -> list[Any]:
    """Return the bars of the file as the engine's quotes and bars."""
    found: list[Any] = []
    size = Quantity.from_int(1_000_000)
    for row in frame().itertuples():
        start = row.Index.value
        at = Price(row.Open, 6)
        found.append(QuoteTick(NAME, at, at, size, size, start + 2, start + 2))
        prices = (Price(value, 6) for value in (row.Open, row.High, row.Low, row.Close))
        found.append(Bar(BARS, *prices, size, start + MINUTE, start + MINUTE))
    return found


def main() -> None:
    """Print fills, final equity and the seconds of the engine's run."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        HERE,
        OmsType.NETTING,
        AccountType.CASH,
        [Money(CASH, MONEY)],
        base_currency=MONEY,
        latency_model=LatencyModel(base_latency_nanos=1),
        bar_execution=False,
    )
    fee = Decimal(str(FEE))
    engine.add_instrument(
        Equity(NAME, NAME.symbol, MONEY, 6, Price(1e-6, 6), Quantity.from_int(1), 0, 0,
               maker_fee=fee, taker_fee=fee)
    )  # fmt: skip
    engine.add_data(events())
    strategy = Crossover()
    engine.add_strategy(strategy)
    started = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - started
    cash = engine.cache.account_for_venue(HERE).balance_total(MONEY).as_double()
    value = SHARES * strategy.held * frame()["Close"].iloc[-1]
    print(json.dumps({"fills": strategy.fills, "equity": cash + value, "seconds": seconds}))


main()
