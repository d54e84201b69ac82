"""Bars from files and the sample: what is read, and what is refused with its place."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from libs.common.backtest.columns import words_of, write_parquet
from libs.common.backtest.data import Wanted, bars_of_closes
from libs.common.backtest.errors import DataError
from libs.common.backtest.files import FileReader
from libs.common.backtest.sample import SampleReader
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns, to_ns

HEADER = "date,open,high,low,close,volume"
ROWS = [
    "2020-01-02,10,11,9,10.5,100",
    "2020-01-03,10.5,12,10,11,200",
    "2020-01-06,11,11.5,10.5,11.25,300",
]
DAYS = Wanted(("KO",), Timeframe.DAY)


def csv(folder: Path, *rows: str, header: str = HEADER, name: str = "KO.csv") -> FileReader:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return FileReader(path)


def refusal(reader: FileReader | SampleReader, wanted: Wanted = DAYS) -> str:
    with pytest.raises(DataError) as error:
        reader.read(wanted)
    return str(error.value)


def test_csv_of_days_is_read_as_bars_that_start_at_midnight_in_new_york(tmp_path: Path) -> None:
    history = csv(tmp_path, *ROWS).read(DAYS)
    bars = history.bars["KO"]
    assert bars["close"].tolist() == [10.5, 11.0, 11.25]
    assert bars["volume"].tolist() == [100.0, 200.0, 300.0]
    assert from_ns(int(bars["ts"][0])) == dt.datetime(2020, 1, 2, 5, tzinfo=dt.UTC)
    assert not history.closes_only


def test_a_file_of_closes_says_so(tmp_path: Path) -> None:
    reader = csv(tmp_path, "2020-01-02,10", "2020-01-03,11", header="date,close")
    history = reader.read(DAYS)
    assert history.closes_only
    assert "closes only" in history.notes[0]
    assert history.bars["KO"]["open"].tolist() == [10.0, 11.0]
    assert np.isnan(history.bars["KO"]["volume"]).all()


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([ROWS[1], ROWS[0], ROWS[2]], "line 3: KO, bar 1 (2020-01-02 05:00:00 UTC): older than"),
        ([ROWS[0], ROWS[1], ROWS[1]], "line 4: KO, bar 2 (2020-01-03 05:00:00 UTC): the same"),
        ([ROWS[0], "2020-01-03,10,11,9,nan,5"], "line 3: column close: no value"),
        ([ROWS[0], "2020-01-03,0,11,0,10,5"], "line 3: KO, bar 1 (2020-01-03 05:00:00 UTC): open"),
        ([ROWS[0], "2020-01-03,-1,11,-2,10,5"], "open -1 is not above 0"),
        ([ROWS[0], "2020-01-03,10,9,8,9,5"], "high 9 and low 8 do not hold open 10"),
        ([ROWS[0], "2020-01-03,10,11,9,10,-5"], "volume -5 is not a number of at least 0"),
        ([*ROWS[:2], "2020-02-04,10,11,9,10,5"], "a gap of 32.0 days before it"),
        ([ROWS[0], "2020-01-03,ten,11,9,10,5"], "line 3: column open: 'ten' is not a number"),
        ([ROWS[0], "2020-01-03,,11,9,10,5"], "line 3: column open: no value"),
        ([ROWS[0], "2020-01-xx,10,11,9,10,5"], "line 3: column date: '2020-01-xx' is not a date"),
        ([ROWS[0], "2020-01-03,10,11"], "line 3: 3 values, not 6"),
        ([], "no rows"),
        ([ROWS[0], ROWS[2].replace("06", "09")], "no two bars are closer than"),
    ],
)
def test_bad_rows_are_refused_with_file_line_symbol_and_bar(
    tmp_path: Path, rows: list[str], complaint: str
) -> None:
    text = refusal(csv(tmp_path, *rows))
    assert str(tmp_path / "KO.csv") in text
    assert complaint in text


def test_minutes_asked_of_days_are_refused(tmp_path: Path) -> None:
    text = refusal(csv(tmp_path, *ROWS), Wanted(("KO",), Timeframe.MINUTE))
    assert "bars of 1m are asked for" in text


def test_an_unknown_symbol_is_refused_with_its_neighbours(tmp_path: Path) -> None:
    assert "no bars of KOO; did you mean KO?" in refusal(
        csv(tmp_path, *ROWS), Wanted(("KOO",), Timeframe.DAY)
    )


def test_a_folder_holds_one_symbol_in_one_file_only(tmp_path: Path) -> None:
    csv(tmp_path, *ROWS)
    csv(tmp_path, *[f"{row},KO" for row in ROWS], header=f"{HEADER},symbol", name="more.csv")
    assert "KO stands in" in refusal(FileReader(tmp_path))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(FileReader(tmp_path / "nowhere"))
    assert "no .parquet or .csv file" in refusal(FileReader(tmp_path))
    (tmp_path / "KO.txt").write_text("x")
    assert "neither .parquet nor .csv" in refusal(FileReader(tmp_path / "KO.txt"))
    (tmp_path / "KO.parquet").write_bytes(b"not parquet")
    assert "unreadable" in refusal(FileReader(tmp_path / "KO.parquet"))


def test_parquet_of_two_symbols_is_split_and_its_holes_are_told(tmp_path: Path) -> None:
    minute = 60_000_000_000
    start = to_ns(dt.datetime(2024, 1, 2, 15, tzinfo=dt.UTC))
    ts = start + np.array([0, 0, 1, 2, 2]) * minute
    prices = np.array([1.0, 5.0, 2.0, 3.0, 6.0])
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    symbols = words_of(["AA", "BB"], np.array([0, 1, 0, 0, 1]))
    write_parquet(tmp_path / "two.parquet", {"ts": ts, **columns, "symbol": symbols})
    wanted = Wanted(("AA", "BB"), Timeframe.MINUTE)
    assert "no two bars are closer than 120 s" in refusal(FileReader(tmp_path), wanted)
    history = FileReader(tmp_path).read(Wanted(("AA",), Timeframe.MINUTE))
    assert history.bars["AA"]["close"].tolist() == [1.0, 2.0, 3.0]


def test_times_without_a_zone_are_refused(tmp_path: Path) -> None:
    table = pa.table({"ts": pa.array([0], pa.timestamp("us")), "close": [1.0]})
    pyarrow.parquet.write_table(table, tmp_path / "KO.parquet")
    assert "times have no time zone" in refusal(FileReader(tmp_path / "KO.parquet"))


def test_holes_between_symbols_are_notes(tmp_path: Path) -> None:
    csv(tmp_path, *ROWS)
    csv(tmp_path, ROWS[0], ROWS[2], "2020-01-07,11,12,10,11,1", name="PEP.csv")
    history = FileReader(tmp_path).read(Wanted(("KO", "PEP"), Timeframe.DAY))
    assert history.notes == ("PEP: 1 bars are missing that other symbols have",)


def test_the_sample_holds_real_closes_and_says_what_it_lacks() -> None:
    history = SampleReader().read(Wanted(("AAPL",), Timeframe.DAY))
    bars = history.bars["AAPL"]
    assert len(bars) > 8000
    assert bars["close"][0] == 0.264  # the file's first line
    assert from_ns(int(bars["ts"][0])).date() == dt.date(1990, 1, 2)
    assert history.closes_only
    assert "closes only" in history.notes[0]


def test_the_sample_refuses_what_it_has_not() -> None:
    assert "did you mean AAPL" in refusal(SampleReader(), Wanted(("APPL",), Timeframe.DAY))
    assert "has bars of 1d" in refusal(SampleReader(), Wanted(("AAPL",), Timeframe.HOUR))


def test_the_fingerprint_changes_with_a_single_price(tmp_path: Path) -> None:
    first = csv(tmp_path, *ROWS).read(DAYS)
    same = csv(tmp_path, *ROWS).read(DAYS)
    other = csv(tmp_path, *ROWS[:2], "2020-01-06,11,11.5,10.5,11.26,300").read(DAYS)
    assert first.fingerprint == same.fingerprint != other.fingerprint


def test_bars_until_a_time_end_before_it(tmp_path: Path) -> None:
    history = csv(tmp_path, *ROWS).read(DAYS)
    third = int(history.bars["KO"]["ts"][2])
    assert len(history.until(third).bars["KO"]) == 2
    assert history.until(None) is history


def test_closes_alone_become_bars_of_four_equal_prices() -> None:
    bars = bars_of_closes(np.array([1, 2]), np.array([5.0, 6.0]))
    assert bars["high"].tolist() == bars["low"].tolist() == [5.0, 6.0]
