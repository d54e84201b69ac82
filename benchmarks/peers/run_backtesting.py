"""backtesting.py: bar by bar in Python."""

from __future__ import annotations

import sys
import warnings

from backtesting import Backtest, Strategy
from clock import CASH, FEE, SHARES, frame, report, wanted

warnings.filterwarnings("ignore")
BARS = frame()


class Crossover(Strategy):
    """The rule on indicators reckoned beforehand."""

    def init(self) -> None:
        """Reckon the target."""
        self.target = self.I(lambda: wanted(BARS["Close"]).to_numpy())

    def next(self) -> None:
        """Buy or sell at the next open."""
        if self.target[-1] and not self.position:
            self.buy(size=SHARES)
        elif not self.target[-1] and self.position:
            self.position.close()


def run() -> tuple[int, float]:
    """Return fills and final equity."""
    stats = Backtest(BARS, Crossover, cash=CASH, commission=FEE, finalize_trades=False).run()
    if sys.argv[1] == "whole":
        print(stats)
    still = int(stats["_strategy"].position.size != 0)
    return 2 * len(stats["_trades"]) + still, stats["Equity Final [$]"]


report(run, 1)
