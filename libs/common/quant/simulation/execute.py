"""The second phase of a backtest: all sleeves' signals carried out on one cash account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from libs.common.quant.simulation.kernel import simulate
from libs.common.quant.simulation.layout import ACCOUNT, FILL, REFUSAL, TRADE, WORK
from libs.common.quant.simulation.market import Market, MarketError
from libs.common.quant.simulation.models import MarketFill, Models, model_record
from libs.common.quant.simulation.outcome import Outcome, Totals
from libs.common.quant.simulation.scratch import scratch
from libs.common.quant.simulation.sleeves import Sleeve
from libs.common.quant.simulation.streams import lines_of, streams_of


def execute(
    market: Market,
    sleeves: Sequence[Sleeve],
    models: Models,
    holdings: Mapping[tuple[str, str], tuple[float, float]] | None = None,
) -> Outcome:
    """Return what `sleeves` come to on `market` under `models`.

    `holdings`: what (sleeve, symbol) holds at the start beside the cash: shares and their price.

    A signal on a bar fills at the earliest on that symbol's next bar; see docs/backtest-engine.md
    for the order of events. The same inputs give the same bits. Raises MarketError for signals on
    unknown symbols or bars, or a model that lacks its data.
    """
    if models.fill.market is MarketFill.QUOTE and not len(market.quotes):
        raise MarketError("fill.market is quote, but the market has no quotes")
    streams, signals = streams_of(market, sleeves)
    widest = int(np.diff(market.fine_starts).max()) if len(market.fine) else 0
    entries = len(streams) * (8 + models.fill.quote_levels + 3 * widest)
    lines = lines_of(market, streams, signals, models)
    account = np.zeros(1, ACCOUNT)
    account["cash"] = account["peak"] = account["day_equity"] = models.cash
    account["day"] = -1
    account["symbols"], account["streams"] = len(lines), len(streams)
    for (name, symbol), (shares, price) in (holdings or {}).items():
        _hold(market, sleeves, streams, lines, name, symbol, shares, price)
        account["peak"] += shares * price
        account["day_equity"] += shares * price
    curve = scratch.array("curve", (4, len(market.timeline)), np.float64)
    model = model_record(
        models,
        market.duration_ns,
        entries,
        borrows=bool((lines["borrow"] > 0.0).any()),
        aligned=len(market.tape) == len(market.timeline) * len(market.symbols),
    )
    logs = Logs(
        scratch.array("fills", (len(signals) + entries,), FILL),
        scratch.array("trades", (len(signals) // 2 + entries,), TRADE),
        scratch.array("refusals", (entries,), REFUSAL),
    )
    active = scratch.array("active", (len(market.symbols),), WORK)
    while True:
        simulate(
            model,
            account,
            lines,
            streams,
            market.tape,
            market.closes,
            market.owner,
            market.timeline,
            market.starts,
            market.slots,
            market.offsets,
            market.quotes,
            market.fine,
            market.fine_starts,
            market.actions,
            signals,
            *logs,
            active,
            *curve,
        )
        played = account["time"][0] == len(market.timeline)
        if played and account["actions"][0] == len(market.actions):
            break
        logs = logs.larger(account[0], entries)
    return _outcome(market, sleeves, account[0], lines, streams, logs, curve)


def _hold(
    market: Market,
    sleeves: Sequence[Sleeve],
    streams: np.ndarray,
    lines: np.ndarray,
    name: str,
    symbol: str,
    shares: float,
    price: float,
) -> None:
    s = market.index(symbol)
    names = [sleeve.name for sleeve in sleeves]
    found = [
        stream for stream in streams if stream["symbol"] == s and names[stream["sleeve"]] == name
    ]
    if not found:
        raise MarketError(f"holdings: no sleeve {name!r} with signals on {symbol}")
    if not (np.isfinite(shares) and 0.0 < price < np.inf):
        raise MarketError(f"holdings: {name}, {symbol}: {shares!r} shares at {price!r}")
    (stream,) = found
    stream["position"] = shares
    stream["entry_ts"] = market.timeline[0]
    bought, value = ("bought", "bought_value") if shares > 0 else ("sold", "sold_value")
    stream[bought], stream[value] = abs(shares), abs(shares) * price
    lines[s]["position"] += shares
    lines[s]["mark"] = price


class Logs(NamedTuple):
    """What happened, each with more room than was used."""

    fills: np.ndarray
    trades: np.ndarray
    refusals: np.ndarray

    def larger(self, account: np.void, entries: int) -> Logs:
        """Return the logs with room for `entries` more, and twice as long where that was short."""
        return Logs(*(_larger(log, int(account[n]), entries) for n, log in self._asdict().items()))


def _larger(log: np.ndarray, used: int, entries: int) -> np.ndarray:
    if used + entries <= len(log):
        return log
    longer = np.empty(2 * len(log) + entries, log.dtype)
    longer[:used] = log[:used]
    return longer


def _outcome(
    market: Market,
    sleeves: Sequence[Sleeve],
    account: np.void,
    lines: np.ndarray,
    streams: np.ndarray,
    logs: Logs,
    curve: np.ndarray,
) -> Outcome:
    held = np.zeros((len(sleeves), len(market.symbols)))
    held[streams["sleeve"], streams["symbol"]] = streams["position"]
    money = ("traded", "commission", "slippage", "interest", "borrow", "dividends")
    return Outcome(
        symbols=market.symbols,
        sleeves=tuple(sleeve.name for sleeve in sleeves),
        ts=market.timeline,
        equity=curve[0],
        cash=curve[1],
        exposure_long=curve[2],
        exposure_short=curve[3],
        fills=logs.fills[: account["fills"]],
        trades=logs.trades[: account["trades"]],
        refused=logs.refusals[: account["refusals"]],
        positions=lines["position"].copy(),
        held=held,
        totals=Totals(idle=int(account["idle"]), **{name: float(account[name]) for name in money}),
    )
