"""What the kernel is given of sleeves: a stream for each symbol of each, their signals in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from libs.common.quant.compile import compiled
from libs.common.quant.simulation.layout import LINE, STREAM
from libs.common.quant.simulation.market import Market, MarketError
from libs.common.quant.simulation.models import Models
from libs.common.quant.simulation.orders import FOREVER
from libs.common.quant.simulation.records import joined
from libs.common.quant.simulation.sleeves import METHODS, Sleeve

Found = tuple[int, int, np.ndarray]
_PRICES: Final = ("stop", "take_profit", "limit")


def _idle() -> np.ndarray:
    stream = np.zeros(1, STREAM)
    for slot in ("order", "exit"):
        order = stream[slot]
        order["limit"] = order["stop"] = order["take_profit"] = np.nan
        order["signal"] = -1
    return stream


_IDLE: Final = _idle()


def streams_of(market: Market, sleeves: Sequence[Sleeve]) -> tuple[np.ndarray, np.ndarray]:
    """Return the streams (STREAM), by symbol and then by sleeve, and all their signals (SIGNAL).

    Raises MarketError for two sleeves of one name and for signals on what is not there.
    """
    names = [sleeve.name for sleeve in sleeves]
    if len(set(names)) < len(names):
        raise MarketError(f"two sleeves have one name: {', '.join(names)}")
    found: list[Found] = [
        (market.index(symbol), k, array)
        for k, sleeve in enumerate(sleeves)
        for symbol, array in sleeve.signals.items()
    ]
    found.sort(key=lambda item: item[:2])
    streams = np.repeat(_IDLE, len(found))
    sizings = [sleeve.sizing for sleeve in sleeves]
    by_sleeve = {
        "method": [METHODS.index(sizing.method) for sizing in sizings],
        "figure": [sizing.figure for sizing in sizings],
        "weight_max": [sizing.weight_max for sizing in sizings],
        "weight": [sleeve.weight for sleeve in sleeves],
    }
    which = [k for _, k, _ in found]
    streams["symbol"], streams["sleeve"] = [s for s, _, _ in found], which
    for name, values in by_sleeve.items():
        streams[name] = np.array(values)[which]
    lengths = np.array([len(array) for _, _, array in found], np.int64)
    streams["end"] = np.cumsum(lengths)
    streams["begin"] = streams["next"] = streams["end"] - lengths
    signals = joined([array for _, _, array in found])
    bars = np.array([len(array) for array in market.bars])[streams["symbol"]]
    if _first_wrong(signals, streams["begin"].copy(), streams["end"].copy(), bars) >= 0:
        for s, k, array in found:
            _check_signals(names[k], market.symbols[s], array, len(market.bars[s]))
    return streams, signals


def lines_of(
    market: Market, streams: np.ndarray, signals: np.ndarray, models: Models
) -> np.ndarray:
    """Return a line (LINE) for each symbol."""
    lines = np.zeros(len(market.symbols), LINE)
    lines["lot"], lines["tick"], lines["shortable"] = market.lots, market.ticks, market.shortable
    lines["borrow"] = np.where(market.borrow < 0.0, models.interest.borrow, market.borrow)
    symbols = np.ascontiguousarray(streams["symbol"])
    lines["last"] = np.cumsum(np.bincount(symbols, minlength=len(lines)))
    lines["first"][1:] = lines["last"][:-1]
    lines["due"] = FOREVER
    lines["spread"] = lines["sigma"] = np.nan
    some = streams["next"] < streams["end"]
    first = signals["index"][streams["next"][some]]
    np.minimum.at(lines["due"], symbols[some], first)
    return lines


@compiled
def _first_wrong(signals: Any, begins: Any, ends: Any, bars: Any) -> int:
    """Return the first stream with a signal that `_check_signals` would refuse, -1 if none has."""
    for j in range(begins.shape[0]):
        last = -1
        for i in range(begins[j], ends[j]):
            signal = signals[i]
            fits = last < signal.index < bars[j] and abs(signal.target) <= 1.0
            fits = fits and not (signal.stop <= 0.0 or signal.stop == np.inf)
            fits = fits and not (signal.take_profit <= 0.0 or signal.take_profit == np.inf)
            if not fits or signal.limit <= 0.0 or signal.limit == np.inf:
                return j
            last = signal.index
    return -1


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
    for name in _PRICES:
        wrong = np.flatnonzero((signals[name] <= 0.0) | np.isinf(signals[name]))
        if len(wrong):
            i = int(wrong[0])
            raise MarketError(
                f"{where}: bar {index[i]}: {name} must be a price above 0, got {signals[name][i]!r}"
            )
