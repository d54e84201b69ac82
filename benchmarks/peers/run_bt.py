"""bt: a tree of strategies and securities, day by day in Python.

The library sizes and fills at one price. So that it fills at the open what was sized on the close
before, its own `transact` is called with the open as price; it takes one where a spread is given,
which is 0 here.
"""

from __future__ import annotations

import bt
import pandas as pd
from clock import CASH, FEE, panel, report

OPEN, CLOSE = (panel(name).rename(columns="S{:03}".format) for name in ("open", "close"))
SHARE = 0.99 / CLOSE.shape[1]


class EqualWeight(bt.Algo):
    """Size anew after every 21st bar, on its closes and the equity then."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.opens, self.closes = OPEN.to_numpy(), CLOSE.to_numpy()

    def __call__(self, target: bt.Strategy) -> bool:
        """Trade at the open of the day that has just closed: sizes are known since yesterday."""
        day, self.seen = self.seen, self.seen + 1
        if day and day % 21 == 0:
            wished = SHARE * target.values.iloc[-2] / self.closes[day - 1]
            held = [target.children[name] for name in CLOSE.columns]
            changes = wished - [security.position for security in held]
            for security, change, price in zip(held, changes, self.opens[day], strict=True):
                security.transact(change, price=price)
        return True


def run() -> tuple[int, float]:
    """Return fills and final equity."""
    securities = [bt.Security(name) for name in CLOSE.columns]
    test = bt.Backtest(
        bt.Strategy("equal_weight", [EqualWeight()], securities),
        CLOSE,
        initial_capital=CASH,
        commissions=lambda quantity, price: abs(quantity) * price * FEE,
        integer_positions=False,
        additional_data={"bidoffer": pd.DataFrame(0.0, CLOSE.index, CLOSE.columns)},
        progress_bar=False,
    )
    test.run()
    strategy = test.strategy
    return len(strategy.get_transactions()), float(strategy.values.iloc[-1])


report(run, 1)
