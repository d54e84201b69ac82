"""Ticks and bars as text that PostgreSQL reads: rows of COPY, or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache

import msgspec

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.kernel.clock import NS_PER_SECOND
from services.data_collector.ports import Ticks


def tick_block(provider: str, batches: Sequence[Ticks]) -> tuple[str, int, set[date]]:
    """COPY text of all ticks, how many, and the months they fall in."""
    lines: list[str] = []
    months: set[date] = set()
    tail = f"\t{_escaped(provider)}\n"
    for batch in batches:
        symbol = _escaped(batch.symbol)
        for q in batch.quotes:
            lines.append(
                f"{symbol}\t{_stamp(q.ts_event)}\t{q.bid!r}\t{q.ask!r}\t{q.bid_size!r}\t"
                f"{q.ask_size!r}\t\\N\t\\N{tail}"
            )
        for t in batch.trades:
            lines.append(
                f"{symbol}\t{_stamp(t.ts_event)}\t\\N\t\\N\t\\N\t\\N\t{t.price!r}\t{t.size!r}{tail}"
            )
        months.update(_months_of(batch.quotes))
        months.update(_months_of(batch.trades))
    return "".join(lines), len(lines), months


def _months_of(ticks: Sequence[Quote] | Sequence[TradeTick]) -> set[date]:
    """The months of ticks that are in order of time: those of the first and the last."""
    return {month(ticks[0].ts_event), month(ticks[-1].ts_event)} if ticks else set()


def bar_block(provider: str, bars: Mapping[str, Sequence[Bar]]) -> str:
    """COPY text of all bars."""
    tail = f"\t{_escaped(provider)}\n"
    return "".join(
        f"{_escaped(symbol)}\t{bar.timeframe}\t{_stamp(bar.ts_event)}\t{bar.open!r}\t"
        f"{bar.high!r}\t{bar.low!r}\t{bar.close!r}\t{bar.volume!r}\t{bar.vwap!r}\t"
        f"{bar.trades}{tail}"
        for symbol, some in bars.items()
        for bar in some
    )


def bar_rows(provider: str, bars: Mapping[str, Sequence[Bar]]) -> str:
    """All bars as a JSON list of rows, with the same figures as `bar_block`."""
    rows = [
        {
            "symbol": symbol,
            "timeframe": bar.timeframe,
            "ts": _stamp(bar.ts_event),
            "open": bar.open,
            "high": bar.high,
            "low": bar.low,
            "close": bar.close,
            "volume": bar.volume,
            "vwap": bar.vwap,
            "trades": bar.trades,
            "provider": provider,
        }
        for symbol, some in bars.items()
        for bar in some
    ]
    return msgspec.json.encode(rows).decode()


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _stamp(ns: int) -> str:
    """PostgreSQL's own notation, microseconds."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    return f"{_second(seconds)}.{rest // 1000:06d}+00"


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def month(ns: int) -> date:
    """The first day of the month (UTC) that `ns` falls in."""
    return _month_of_day(ns // (86_400 * NS_PER_SECOND))


@lru_cache(maxsize=4096)
def _month_of_day(day: int) -> date:
    return datetime.fromtimestamp(day * 86_400, UTC).date().replace(day=1)
