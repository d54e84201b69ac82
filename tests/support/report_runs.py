"""Runs to report on, made of real prices: trend following on stocks of the sample."""

from __future__ import annotations

import numpy as np
from skfolio.datasets import load_sp500_dataset, load_sp500_index

from libs.common.backtest.report import ReportInput
from libs.common.quant.simulation.layout import FILL, TRADE

CASH = 1_000_000.0


def trend_run(
    symbols: tuple[str, ...] = ("AAPL", "JPM", "XOM"),
    window: int = 100,
    title: str = "Trend following",
    days: int = 0,
) -> ReportInput:
    """Long above the mean of the last `window` closes, an equal part of the cash each, one basis
    point a trade; of the last `days` days, 0 for all."""
    prices = load_sp500_dataset()[list(symbols)].iloc[-days:]
    index = load_sp500_index().iloc[:, 0].reindex(prices.index).to_numpy(float)
    ts = prices.index.to_numpy("datetime64[ns]").astype(np.int64)
    closes = prices.to_numpy(float)
    means = prices.rolling(window).mean().to_numpy()
    part = CASH / len(symbols)
    shares = np.zeros(len(symbols))
    cash, fills, trades, entries = CASH, [], [], {}
    curves = np.zeros((3, len(ts)))
    for i, close in enumerate(closes):
        for k, price in enumerate(close):
            wanted = bool(i and closes[i - 1, k] > means[i - 1, k])
            if wanted == bool(shares[k]):
                continue
            side = 1 if wanted else -1
            quantity = float(int(part / price)) if wanted else shares[k]
            fee = quantity * price * 1e-4
            cash -= side * quantity * price + fee
            shares[k] = quantity if wanted else 0.0
            fills.append((ts[i], k, k % 2, side, quantity, price, fee, 0.0, 0, i, 0))
            if wanted:
                entries[k] = (ts[i], i, price, fee)
            else:
                at, bar, paid, before = entries.pop(k)
                profit = quantity * (price - paid) - fee - before
                trades.append((k, k % 2, 1, at, ts[i], bar, i, quantity, paid, price,
                               fee + before, 0.0, profit, 0))  # fmt: skip
        held = float(shares @ close)
        curves[:, i] = cash + held, cash, held
    two = np.zeros((2, len(symbols)))
    two[np.arange(len(symbols)) % 2, np.arange(len(symbols))] = shares
    return ReportInput(
        title=title,
        ts=ts,
        equity=curves[0],
        cash=curves[1],
        exposure_long=curves[2],
        exposure_short=np.zeros(len(ts)),
        symbols=symbols,
        sleeves=("trend", "second trend"),
        fills=np.array(fills, FILL),
        trades=np.array(trades, TRADE),
        held=two,
        last_prices=closes[-1],
        params={"window": window},
        facts={"data": "daily closes 1990 to 2022", "commission": "1 bp"},
        benchmark=index,
        benchmark_name="S&P 500",
        notes=("Closes only: fills are at the close after the decision.",),
    )
