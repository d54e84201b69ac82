"""All instruments in memory: exact look-up by a dictionary, prefixes by bisection."""

from bisect import bisect_left
from collections.abc import Iterable
from csv import DictReader
from dataclasses import replace
from importlib.resources import files

from libs.common.domain.instruments import UNKNOWN_SECTOR, Instrument

_AFTER_ALL = "\U0010ffff"


class InstrumentBook:
    """A set of instruments that never changes: a refresh makes a new one and swaps it in."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol = {item.symbol: item for item in instruments}
        self._symbols = sorted(self._by_symbol)

    def __len__(self) -> int:
        return len(self._symbols)

    def get(self, symbol: str) -> Instrument | None:
        """The instrument of exactly this symbol."""
        return self._by_symbol.get(symbol)

    def search(self, prefix: str, after: str, limit: int) -> list[Instrument]:
        """At most `limit` instruments whose symbol begins with `prefix`, above `after`, sorted."""
        start = bisect_left(self._symbols, prefix)
        end = bisect_left(self._symbols, prefix + _AFTER_ALL)
        if after:
            start = max(start, bisect_left(self._symbols, after + "\0"))
        return [self._by_symbol[symbol] for symbol in self._symbols[start:end][:limit]]


def shipped_sectors() -> dict[str, str]:
    """Symbol → sector of the file that ships with the service (its head names the source)."""
    text = files("services.data_collector").joinpath("sectors.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {row["symbol"]: row["sector"] for row in DictReader(lines)}


def with_sectors(instruments: Iterable[Instrument], sectors: dict[str, str]) -> list[Instrument]:
    """The instruments with their sector where it is known; unknown stays "unknown"."""
    return [
        replace(item, sector=sectors[item.symbol])
        if item.sector == UNKNOWN_SECTOR and item.symbol in sectors
        else item
        for item in instruments
    ]
