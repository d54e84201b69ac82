"""backtrader: bar by bar in Python objects."""

from __future__ import annotations

import backtrader as bt
from clock import CASH, FEE, SHARES, frame, report

BARS = frame()


class Crossover(bt.Strategy):
    """The rule on the library's own averages."""

    def __init__(self) -> None:
        self.fast, self.slow = bt.ind.SMA(period=10), bt.ind.SMA(period=30)
        self.fills = 0

    def notify_order(self, order: bt.Order) -> None:
        """Count what was filled."""
        self.fills += order.status == order.Completed

    def next(self) -> None:
        """Buy or sell at the next open."""
        if self.fast[0] > self.slow[0]:
            if not self.position:
                self.buy(size=SHARES)
        elif self.position:
            self.close()


def run() -> tuple[int, float]:
    """Return fills and final equity."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.addstrategy(Crossover)
    cerebro.adddata(bt.feeds.PandasData(dataname=BARS))
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=FEE)
    (strategy,) = cerebro.run()
    return strategy.fills, cerebro.broker.getvalue()


report(run, 1)
