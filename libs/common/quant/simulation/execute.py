"""The second phase of a backtest: all sleeves' signals carried out on one cash account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from libs.common.quant.simulation.kernel import simulate
from libs.common.quant.simulation.layout import ACCOUNT, FILL, LINE, REFUSAL, STREAM, TRADE, WORK
from libs.common.quant.simulation.market import Market, MarketError
from libs.common.quant.simulation.models import MarketFill, Models, model_record
from libs.common.quant.simulation.orders import FOREVER
from libs.common.quant.simulation.outcome import Outcome, Totals
from libs.common.quant.simulation.records import SIGNAL
from libs.common.quant.simulation.sleeves import METHODS, Sleeve


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
    streams, signals = _streams(market, sleeves)
    widest = int(np.diff(market.fine_starts).max(initial=0))
    entries = len(streams) * (8 + models.fill.quote_levels + 3 * widest)
    lines = _lines(market, streams, signals, models)
    account = np.zeros(1, ACCOUNT)
    account["cash"] = account["peak"] = account["day_equity"] = models.cash
    account["day"] = -1
    account["symbols"], account["streams"] = len(lines), len(streams)
    for (name, symbol), (shares, price) in (holdings or {}).items():
        _hold(market, sleeves, streams, lines, name, symbol, shares, price)
        account["peak"] += shares * price
        account["day_equity"] += shares * price
    curve = np.empty((4, len(market.timeline)))
    model = model_record(
        models,
        market.duration_ns,
        entries,
        borrows=bool((lines["borrow"] > 0.0).any()),
        aligned=len(market.tape) == len(market.timeline) * len(market.symbols),
    )
    logs = Logs(
        np.empty(len(signals) + entries, FILL),
        np.empty(len(signals) // 2 + entries, TRADE),
        np.empty(entries, REFUSAL),
    )
    active = np.empty(len(market.symbols), WORK)
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


def _streams(market: Market, sleeves: Sequence[Sleeve]) -> tuple[np.ndarray, np.ndarray]:
    """Return the streams, by symbol and then by sleeve, and all signals one after the other."""
    names = [sleeve.name for sleeve in sleeves]
    if len(set(names)) < len(names):
        raise MarketError(f"two sleeves have one name: {', '.join(names)}")
    found: list[tuple[int, int, np.ndarray]] = []
    for k, sleeve in enumerate(sleeves):
        for symbol, array in sleeve.signals.items():
            s = market.index(symbol)
            _check_signals(sleeve.name, symbol, array, len(market.bars[s]))
            found.append((s, k, array))
    found.sort(key=lambda item: item[:2])
    streams = np.zeros(len(found), STREAM)
    begin = 0
    for stream, (s, k, array) in zip(streams, found, strict=True):
        sizing = sleeves[k].sizing
        stream["symbol"], stream["sleeve"] = s, k
        stream["method"] = METHODS.index(sizing.method)
        stream["figure"], stream["weight_max"] = sizing.figure, sizing.weight_max
        stream["weight"] = sleeves[k].weight
        stream["begin"] = stream["next"] = begin
        begin += len(array)
        stream["end"] = begin
        for slot in ("order", "exit"):
            order = stream[slot]
            order["limit"] = order["stop"] = order["take_profit"] = np.nan
            order["signal"] = -1
    if len(found) == 1:
        return streams, np.ascontiguousarray(found[0][2])
    empty = [np.zeros(0, SIGNAL)]
    return streams, np.concatenate([array for _, _, array in found] or empty)


def _check_signals(sleeve: str, symbol: str, signals: np.ndarray, bars: int) -> None:
    where = f"sleeve {sleeve}: {symbol}"
    index, target = signals["index"], signals["target"]
    if not len(index):
        return
    late = np.flatnonzero(np.diff(index) <= 0)
    if len(late):
        raise MarketError(
            f"{where}: signal {late[0] + 1} is not on a later bar than the one before"
        )
    if index[0] < 0 or index[-1] >= bars:
        strange = index[0] if index[0] < 0 else index[-1]
        raise MarketError(f"{where}: a signal names bar {strange}, there are {bars}")
    wrong = np.flatnonzero(~(np.abs(target) <= 1.0))
    if len(wrong):
        i = int(wrong[0])
        raise MarketError(f"{where}: bar {index[i]}: target must be in [-1, 1], got {target[i]!r}")
    for name in ("stop", "take_profit", "limit"):
        wrong = np.flatnonzero((signals[name] <= 0.0) | np.isinf(signals[name]))
        if len(wrong):
            i = int(wrong[0])
            raise MarketError(
                f"{where}: bar {index[i]}: {name} must be a price above 0, got {signals[name][i]!r}"
            )


def _lines(market: Market, streams: np.ndarray, signals: np.ndarray, models: Models) -> np.ndarray:
    lines = np.zeros(len(market.symbols), LINE)
    lines["lot"], lines["tick"], lines["shortable"] = market.lots, market.ticks, market.shortable
    lines["borrow"] = np.where(market.borrow < 0.0, models.interest.borrow, market.borrow)
    order = np.arange(len(market.symbols))
    lines["first"] = np.searchsorted(streams["symbol"], order, side="left")
    lines["last"] = np.searchsorted(streams["symbol"], order, side="right")
    lines["due"] = FOREVER
    lines["spread"] = lines["sigma"] = np.nan
    for stream in streams:
        if stream["next"] < stream["end"]:
            line = lines[stream["symbol"]]
            line["due"] = min(line["due"], signals["index"][stream["next"]])
    return lines


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
