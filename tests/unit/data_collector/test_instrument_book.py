"""Look-up of instruments by symbol and prefix, at the size of a market."""

import string
import time
from itertools import islice, product

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.domain.instruments import Instrument
from services.data_collector.instrument_book import (
    InstrumentBook,
    shipped_sectors,
    with_sectors,
)

SYMBOLS = st.lists(st.text("ABC./", min_size=1, max_size=4), unique=True, max_size=30)


@settings(deadline=None)
@given(SYMBOLS, st.text("ABC./", max_size=3), st.text("ABC./", max_size=3), st.integers(1, 10))
def test_search_gives_what_a_scan_would(
    symbols: list[str], prefix: str, after: str, limit: int
) -> None:
    book = InstrumentBook(Instrument(symbol) for symbol in symbols)
    scan = [s for s in sorted(symbols) if s.startswith(prefix) and (not after or s > after)]
    assert [item.symbol for item in book.search(prefix, after, limit)] == scan[:limit]


def test_two_hundred_thousand_are_found_at_once() -> None:
    names = ("".join(letters) for letters in product(string.ascii_uppercase, repeat=4))
    book = InstrumentBook([Instrument(name) for name in islice(names, 200_000)])
    assert len(book) == 200_000
    began = time.perf_counter()
    for _ in range(100):
        assert book.get("HAAA") is not None
        assert len(book.search("HA", "", 50)) == 50
    assert (time.perf_counter() - began) / 100 < 0.01  # the aim is 1 ms; tests run beside others


def test_sectors_are_known_for_the_default_symbols_and_unknown_for_others() -> None:
    sectors = shipped_sectors()
    assert len(sectors) == 20
    apple, other, kept = with_sectors(
        [Instrument("AAPL"), Instrument("ZZZZ"), Instrument("KO", sector="Drinks")], sectors
    )
    assert (apple.sector, other.sector, kept.sector) == (
        "Information Technology", "unknown", "Drinks",
    )  # fmt: skip
