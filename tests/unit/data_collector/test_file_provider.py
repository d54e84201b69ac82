"""Files good and bad: what is read, and which file, column and row a refusal names."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from libs.common.contracts.messages import Quote
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from services.data_collector.adapters.files import FileProvider, ticks_of
from services.data_collector.adapters.tape import DataFileError, TapeKind, read_tape

SHARED = Path(__file__).parents[4] / "shared/data"
PLAIN = """ts,open,high,low,close,volume
2024-01-02T14:30:00Z,10,11,9,10.5,100
2024-01-02T14:31:00Z,10.5,12,10,11,200
2024-01-02T14:32:00+00:00,11,11,10,10,300
"""
START = to_ns(datetime(2024, 1, 2, 14, 30, tzinfo=UTC))
FAR = 2**62


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


async def test_plain_csv_takes_its_symbol_from_the_file_name(tmp_path: Path) -> None:
    provider = FileProvider(written(tmp_path, "aapl.csv", PLAIN))
    (bars,) = (await provider.bars(["AAPL", "IBM"], Timeframe.MINUTE, 0, FAR)).values()
    assert [(b.ts_event, b.open, b.close, b.volume) for b in bars] == [
        (START, 10.0, 10.5, 100.0),
        (START + 60_000_000_000, 10.5, 11.0, 200.0),
        (START + 120_000_000_000, 11.0, 10.0, 300.0),
    ]


async def test_range_takes_its_start_and_leaves_its_end(tmp_path: Path) -> None:
    provider = FileProvider(written(tmp_path, "AAPL.csv", PLAIN))
    found = await provider.bars(["AAPL"], Timeframe.MINUTE, START, START + 60_000_000_000)
    assert [bar.ts_event for bar in found["AAPL"]] == [START]


async def test_folder_serves_all_its_files_and_longer_bars(tmp_path: Path) -> None:
    written(tmp_path, "AAPL.csv", PLAIN)
    written(tmp_path, "IBM.csv", PLAIN)
    found = await FileProvider(tmp_path).bars(["AAPL", "IBM"], Timeframe.FIVE_MINUTES, 0, FAR)
    assert sorted(found) == ["AAPL", "IBM"]
    for bars in found.values():
        assert [(b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
            (10.0, 12.0, 9.0, 10.0, 600.0)
        ]


async def test_daily_rows_start_at_midnight_in_new_york(tmp_path: Path) -> None:
    text = "date,open,high,low,close,volume\n2024-07-01,1,2,1,2,5\n2024-07-02,1,2,1,2,5\n"
    found = await FileProvider(written(tmp_path, "X.csv", text)).bars(["X"], Timeframe.DAY, 0, FAR)
    assert found["X"][0].ts_event == to_ns(datetime(2024, 7, 1, 4, tzinfo=UTC))


def test_quote_side_that_did_not_change_is_kept(tmp_path: Path) -> None:
    text = (
        "ts,bid,bid_size,ask,ask_size\n2024-01-02T14:30:00Z,,0,10.02,7\n"
        "2024-01-02T14:30:01Z,10.00,5,,0\n2024-01-02T14:30:02Z,10.01,6,,0\n"
    )
    ticks = [tick for _, tick in ticks_of(read_tape(written(tmp_path, "X.csv", text)))]
    assert all(isinstance(tick, Quote) for tick in ticks)
    assert [(t.bid, t.bid_size, t.ask, t.ask_size) for t in ticks if isinstance(t, Quote)] == [
        (10.00, 5.0, 10.02, 7.0),
        (10.01, 6.0, 10.02, 7.0),
    ]


def test_rows_flagged_by_the_vendor_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table(
        {
            "symbol": ["IBM", "IBM"],
            "ts": pa.array([START, START + 1], pa.timestamp("ns", "UTC")),
            "price": [10.0, 99.0],
            "size": [1, 1],
            "suspicious": [False, True],
        }
    )
    pa.parquet.write_table(table, path)
    tape = read_tape(path)
    assert (tape.skipped, tape.columns["price"].tolist()) == (1, [10.0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", r"a\.csv: unreadable: Empty CSV file"),
        ("a.csv", "ts,open,high,low,close,volume\n", r"a\.csv: no rows"),
        ("a.csv", "open,high,low,close,volume\n1,1,1,1,1\n", "no time column"),
        ("a.csv", "ts,open,high,low,close\n2024-01-02T14:30:00Z,1,1,1,1\n", "lacks column volume"),
        ("a.csv", PLAIN.replace("10.5,12", "ten,12"), r"column open, row 2: 'ten' is not a number"),
        ("a.csv", PLAIN.replace("10.5,12,10", "10.5,,10"), r"column high, row 2: no value"),
        ("a.csv", PLAIN.replace("2024-01-02T14:31:00Z", "yesterday"), r"column ts, row 2: 'yest"),
        ("a.csv", PLAIN.replace("14:31:00Z", "14:31:00"), r"column ts, row 2: .* with a zone"),
        ("a.csv", PLAIN.replace("2024-01-02T14:31:00Z", ""), r"column ts, row 2: no time"),
        ("a.csv", PLAIN.replace(",200", ",200,7"), r"row 2: 7 values for 6 columns"),
        ("a.csv", PLAIN.replace("14:31:00Z", "14:30:07Z"), r"7 s apart are none"),
        ("a.csv", "symbol,ts,price,size\n,2024-01-02T14:30:00Z,1,1\n", "column symbol, row 1"),
        ("a.parquet", "this is not parquet", r"a\.parquet: unreadable"),
        ("a.txt", PLAIN, r"neither \.parquet nor \.csv"),
    ],
)
def test_bad_file_is_refused_naming_what_and_where(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    with pytest.raises(DataFileError, match=message):
        read_tape(written(tmp_path, name, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"ts,open\xff\xfe,high\n")
    with pytest.raises(DataFileError, match="not UTF-8"):
        read_tape(path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([START], pa.timestamp("ns")), "column ts: times have no time zone"),
        (pa.array([START], pa.int64()), "column ts: int64 is no time"),
    ],
)
def test_parquet_time_must_be_a_time_with_a_zone(
    tmp_path: Path, column: pa.Array, message: str
) -> None:
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"ts": column, "price": [1.0], "size": [1.0]}), path)
    with pytest.raises(DataFileError, match=message):
        read_tape(path)


def test_missing_file_and_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"nowhere\.csv: no such file"):
        read_tape(tmp_path / "nowhere.csv")
    with pytest.raises(DataFileError, match=r"no \.parquet or \.csv file"):
        FileProvider(tmp_path).tapes()


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"real data is not at {SHARED}")
@pytest.mark.parametrize(
    ("file", "kind", "timeframe", "rows"),
    [
        ("minute_trades.parquet", TapeKind.BARS, Timeframe.MINUTE, 15_732),
        ("minute_quotes.parquet", TapeKind.QUOTE_BARS, Timeframe.MINUTE, 18_217),
        ("ticks_trades_20131007.parquet", TapeKind.TRADES, None, 363_066),
        ("ticks_quotes_20131007.parquet", TapeKind.QUOTES, None, 109_067),
        ("daily_raw.parquet", TapeKind.BARS, Timeframe.DAY, 61_898),
    ],
)
def test_real_files_are_read_whole(
    file: str, kind: TapeKind, timeframe: Timeframe | None, rows: int
) -> None:
    tape = read_tape(SHARED / file)
    assert (tape.kind, tape.timeframe, len(tape.ts_ns) + tape.skipped) == (kind, timeframe, rows)
    assert (tape.ts_ns[1:] >= tape.ts_ns[:-1]).all()
