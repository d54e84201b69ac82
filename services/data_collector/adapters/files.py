"""History from Parquet and CSV files: bars as they are, or built from the trades of a tape."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.domain.timeframes import Timeframe
from services.data_collector.adapters.tape import DataFileError, Tape, TapeKind, read_tape
from services.data_collector.bars import DERIVED, BarBuilder, fold_all

SUFFIXES = (".parquet", ".csv")


class FileProvider:
    """Serves what lies in one file, or in all Parquet and CSV files of one folder.

    Files are read on first use, in a thread, and kept; `5m`, `15m` and `1h` bars are folded
    from minute bars where the files hold none.
    """

    name = "files"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tapes: list[Tape] | None = None

    async def bars(
        self, symbols: Sequence[str], timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> dict[str, list[Bar]]:
        """Bars that start in [start, end), oldest first. Raises DataFileError."""
        return await asyncio.to_thread(self._bars, symbols, timeframe, start_ns, end_ns)

    def _bars(
        self, symbols: Sequence[str], timeframe: Timeframe, start_ns: int, end_ns: int
    ) -> dict[str, list[Bar]]:
        found: dict[str, list[Bar]] = {}
        for symbol in symbols:
            bars = {
                bar.ts_event: bar
                for tape in self.tapes()
                for bar in bars_of(tape, symbol, timeframe)
                if start_ns <= bar.ts_event < end_ns
            }
            if bars:
                found[symbol] = [bars[ts] for ts in sorted(bars)]
        return found

    def tapes(self) -> list[Tape]:
        """Every file's content. Raises DataFileError for the first file that can't be used."""
        if self._tapes is None:
            self._tapes = [read_tape(path) for path in self._files()]
        return self._tapes

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        files = sorted(path for path in self._path.iterdir() if path.suffix in SUFFIXES)
        if not files:
            raise DataFileError(f"{self._path}: no .parquet or .csv file in this folder")
        return files


def bars_of(tape: Tape, symbol: str, timeframe: Timeframe) -> list[Bar]:
    """The bars of one symbol that a tape holds or makes, oldest first."""
    if tape.kind is TapeKind.TRADES and timeframe is not Timeframe.DAY:
        return _built(tape, symbol, timeframe)
    if tape.kind is not TapeKind.BARS:
        return []
    if tape.timeframe is timeframe:
        return list(_stored(tape, symbol))
    if tape.timeframe is Timeframe.MINUTE and timeframe in DERIVED:
        minutes = list(_stored(tape, symbol))
        return fold_all(minutes, timeframe, int(tape.ts_ns[-1]) + timeframe.ns)
    return []


def _stored(tape: Tape, symbol: str) -> Iterator[Bar]:
    assert tape.timeframe is not None
    here = np.flatnonzero(tape.symbols == symbol)
    names = ("open", "high", "low", "close", "volume")
    columns = [tape.columns[name][here].tolist() for name in names]
    for ts, open_, high, low, close, volume in zip(
        tape.ts_ns[here].tolist(), *columns, strict=True
    ):
        yield Bar(
            timeframe=tape.timeframe.value,
            ts_event=ts,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            vwap=(high + low + close) / 3.0,
        )


def _built(tape: Tape, symbol: str, timeframe: Timeframe) -> list[Bar]:
    builder = BarBuilder(timeframe)
    bars: list[Bar] = []
    for _, tick in ticks_of(tape, symbol):
        assert isinstance(tick, TradeTick)
        bars += builder.close_until(tick.ts_event)
        builder.add(tick)
    return bars + builder.close_until(int(tape.ts_ns[-1]) + 2 * timeframe.ns)


def ticks_of(tape: Tape, symbol: str | None = None) -> Iterator[tuple[str, Quote | TradeTick]]:
    """The quotes or trades of a tape in order of time, of one symbol or of all.

    A quote is given once both sides are known; a quote bar gives its closing quote at its end.
    """
    here = slice(None) if symbol is None else np.flatnonzero(tape.symbols == symbol)
    symbols, times = tape.symbols[here].tolist(), tape.ts_ns[here].tolist()
    columns = {name: column[here].tolist() for name, column in tape.columns.items()}
    match tape.kind:
        case TapeKind.TRADES:
            for name, ts, price, size in zip(
                symbols, times, columns["price"], columns["size"], strict=True
            ):
                yield name, TradeTick(ts_event=ts, price=price, size=size)
        case TapeKind.QUOTES:
            yield from _quotes(symbols, times, columns, ("bid", "ask"))
        case TapeKind.QUOTE_BARS:
            assert tape.timeframe is not None
            ends = [ts + tape.timeframe.ns for ts in times]
            yield from _quotes(symbols, ends, columns, ("bid_close", "ask_close"))
        case TapeKind.BARS:
            return


def _quotes(
    symbols: list[str], times: list[int], columns: dict[str, list[float]], sides: tuple[str, str]
) -> Iterator[tuple[str, Quote]]:
    bids, asks = columns[sides[0]], columns[sides[1]]
    bid_sizes = columns.get("bid_size") or [0.0] * len(times)
    ask_sizes = columns.get("ask_size") or [0.0] * len(times)
    last_bid: dict[str, tuple[float, float]] = {}
    last_ask: dict[str, tuple[float, float]] = {}
    for row, symbol in enumerate(symbols):
        if bids[row] == bids[row]:  # not NaN: this side changed
            last_bid[symbol] = (bids[row], bid_sizes[row])
        if asks[row] == asks[row]:
            last_ask[symbol] = (asks[row], ask_sizes[row])
        if symbol in last_bid and symbol in last_ask:
            (bid, bid_size), (ask, ask_size) = last_bid[symbol], last_ask[symbol]
            yield (
                symbol,
                Quote(ts_event=times[row], bid=bid, ask=ask, bid_size=bid_size, ask_size=ask_size),
            )
