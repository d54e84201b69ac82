"""Anchors: what somebody with every right in the database did to the chain is found by them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.common.kernel.errors import InvalidInputError
from services.audit.adapters.anchor_files import AnchorFiles
from services.audit.anchoring import Anchorer, HistoryError
from services.audit.anchors import AnchorError, AnchorKey, read_anchors
from services.audit.logic import Break, Head, Row, claim_of, link, verify
from services.audit.watch import AnchorWatch
from tests.support.audit_rows import (
    DAY,
    ChainInMemory,
    chained,
    changed,
    cut,
    entry,
    inserted,
    removed,
    swapped,
    three_days,
)

KEY = AnchorKey(bytes(range(32)))
NOW = DAY + dt.timedelta(days=2, hours=12)
MOVED = {"ts": DAY}

Edit = Callable[[list[Row]], list[Row]]


class Place:
    """A chain in memory with its anchors."""

    def __init__(self, folder: Path) -> None:
        self.rows = list(link(Head(), three_days()))
        self.files = AnchorFiles(folder)

    def anchorer(self, rows: list[Row] | None = None) -> Anchorer:
        return Anchorer(ChainInMemory(rows or self.rows), self.files, KEY)

    def broken(self, rows: list[Row], first_seq: int = 1, step: int = 7) -> Break | None:
        watch = AnchorWatch(self.files.read([KEY.public]), first_seq, self.files.hashes)
        kept = [row for row in rows if row.seq >= first_seq]
        for at in range(0, len(kept), step):
            part = kept[at : at + step]
            found = watch.feed(part[0].seq, b"".join(bytes.fromhex(row.hash) for row in part))
            if found is not None:
                return found
        return watch.finish(Head(rows[-1].seq, rows[-1].hash) if rows else Head())


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    made = await place.anchorer().anchor(NOW)
    assert [(one.kind, one.day, one.first_seq, one.last_seq) for one in made] == [
        ("day", "2026-11-18", 1, 10),
        ("day", "2026-11-19", 11, 20),
        ("so far", "2026-11-20", 21, 30),
    ]
    return place


async def test_an_untouched_chain_holds_and_may_grow(place: Place) -> None:
    assert await place.anchorer().anchor(NOW) == []
    assert place.broken(place.rows) is None
    head = Head(30, place.rows[-1].hash)
    grown = [*place.rows, *link(head, [entry(99, NOW)])]
    assert place.broken(grown) is None
    (more,) = await place.anchorer(grown).anchor(NOW)
    assert (more.kind, more.first_seq, more.last_seq) == ("so far", 21, 31)
    tomorrow = NOW + dt.timedelta(days=1)
    (last,) = await place.anchorer(grown).anchor(tomorrow)
    assert (last.kind, last.last_seq, last.root) == ("day", 31, more.root)
    assert place.broken(grown) is None
    assert place.broken(grown, first_seq=15) is None
    assert place.broken(place.rows) == Break(
        31, "ANCHORED_ROWS_GONE", "rows up to 31", "the last row is 30", "2026-11-20"
    )


@pytest.mark.parametrize(
    ("edit", "seq", "day"),
    [
        (changed(14), 14, "2026-11-19"),
        (changed(1), 1, "2026-11-18"),
        (changed(30), 30, "2026-11-20"),
        (changed(13, **MOVED), 13, "2026-11-19"),
        (changed(13, recorded_at=NOW), 13, "2026-11-19"),
        (removed(14), 14, "2026-11-19"),
        (removed(10), 10, "2026-11-18"),
        (inserted(20), 20, "2026-11-19"),
        (swapped(25), 25, "2026-11-20"),
        (swapped(20), 20, "2026-11-19"),
    ],
)
async def test_a_chain_computed_anew_is_whole_in_itself_and_contradicts_the_anchors(
    place: Place, edit: Edit, seq: int, day: str
) -> None:
    forged = chained(place.rows, edit)
    assert verify(map(claim_of, forged), Head()).valid
    found = place.broken(forged)
    assert found is not None
    assert (found.code, found.seq, found.day, found.exact) == ("ANCHOR_MISMATCH", seq, day, True)
    with pytest.raises(HistoryError):
        await place.anchorer(chained(forged, lambda r: [*r, r[0]])).anchor(
            NOW + dt.timedelta(days=1)
        )


@pytest.mark.parametrize(
    ("seq", "day"), [(28, "2026-11-20"), (11, "2026-11-19"), (1, "2026-11-18")]
)
async def test_a_chain_cut_off_at_its_end_is_whole_in_itself_and_too_short_for_the_anchors(
    place: Place, seq: int, day: str
) -> None:
    found = place.broken(chained(place.rows, cut(seq)))
    assert found is not None
    assert (found.code, found.seq, found.day) == ("ANCHORED_ROWS_GONE", seq, day)
    with pytest.raises(HistoryError, match="not there any more"):
        await place.anchorer(place.rows[: seq - 1] or [entry_row()]).anchor(NOW)


def entry_row() -> Row:
    return next(link(Head(-1), [entry(1, NOW)]))


async def test_without_the_kept_hashes_the_anchor_still_names_the_day(place: Place) -> None:
    place.files.forget_hashes("2026-11-19")
    found = place.broken(chained(place.rows, changed(14)))
    assert found is not None
    assert (found.code, found.seq, found.day, found.exact) == (
        "ANCHOR_MISMATCH", 11, "2026-11-19", False,
    )  # fmt: skip


async def test_hashes_forged_with_the_rows_do_not_help(place: Place) -> None:
    forged = chained(place.rows, changed(14))
    rows = place.files.folder / "rows" / "2026-11-19.bin"
    rows.write_bytes(b"".join(bytes.fromhex(row.hash) for row in forged[10:20]))
    found = place.broken(forged)
    assert found is not None
    assert (found.code, found.day, found.exact) == ("ANCHOR_MISMATCH", "2026-11-19", False)


@pytest.mark.parametrize("line", [0, 1, 2])
@pytest.mark.parametrize(
    "forge",
    [
        lambda line: line.replace(b'"last_seq":', b'"last_seq":1'),
        lambda line: b"",
        lambda line: line[:-20] + b"0" * 18 + line[-2:],
        lambda line: b"\xff\x00",
        lambda line: line + b" " * 5000,
    ],
)
async def test_a_forged_line_of_the_anchors_is_found(
    place: Place, line: int, forge: Callable[[bytes], bytes]
) -> None:
    lines = place.files.lines()
    lines[line] = forge(lines[line])
    with pytest.raises(AnchorError, match=f"line {line + 1}"):
        read_anchors(lines, [KEY.public])


async def test_a_line_left_out_or_by_another_key_is_found(place: Place) -> None:
    lines = place.files.lines()
    with pytest.raises(AnchorError, match="line 2"):
        read_anchors([lines[0], lines[2]], [KEY.public])
    with pytest.raises(AnchorError, match="unknown key"):
        read_anchors(lines, ["00" * 32])
    with pytest.raises(AnchorError, match="line 1"):
        read_anchors(lines[1:], [KEY.public])


async def test_a_new_key_continues_where_the_former_one_is_named(place: Place) -> None:
    other = AnchorKey(os.urandom(32))
    chain = ChainInMemory([*place.rows, *link(Head(30, place.rows[-1].hash), [entry(1, NOW)])])
    with pytest.raises(AnchorError, match="unknown key"):
        await Anchorer(chain, place.files, other).anchor(NOW)
    (made,) = await Anchorer(chain, place.files, other, former_keys=[KEY.public]).anchor(NOW)
    assert made.key == other.public
    assert len(place.files.read([KEY.public, other.public])) == 4


async def test_what_was_half_written_is_written_again(place: Place) -> None:
    place.files.path.write_bytes(place.files.path.read_bytes()[:-50])
    rows = place.files.folder / "rows" / "2026-11-20.bin"
    rows.write_bytes(rows.read_bytes() + b"half")
    made = await place.anchorer().anchor(NOW)
    assert [one.last_seq for one in made] == [30]
    assert place.broken(place.rows) is None


async def test_rows_dated_by_a_clock_that_ran_ahead_do_not_split_a_day(tmp_path: Path) -> None:
    entries = three_days(3)
    ahead = entry(9, DAY + dt.timedelta(days=300))
    chain = ChainInMemory(list(link(Head(), [*entries[:4], ahead, *entries[4:]])))
    files = AnchorFiles(tmp_path)
    made = await Anchorer(chain, files, KEY).anchor(NOW)
    assert [(one.day, one.first_seq, one.last_seq) for one in made] == [
        ("2026-11-18", 1, 3), ("2026-11-19", 4, 7), ("2026-11-20", 8, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", ["", "ab", "zz" * 32, "00" * 32])
def test_a_seed_that_is_none_is_refused_and_not_shown(seed: str) -> None:
    with pytest.raises(InvalidInputError, match="44 characters") as caught:
        AnchorKey.of(seed)
    assert not seed or seed not in str(caught.value)
    assert bytes(range(32)).hex() not in repr(KEY)
