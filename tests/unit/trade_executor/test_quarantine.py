"""What cannot be read is put aside within bounds, whatever comes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest

from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import UnavailableError
from services.trade_executor.ports import Page
from services.trade_executor.quarantine import BODY_MAX, PER_MINUTE, Quarantine, Unreadable, shown

NOON = dt.datetime(2022, 3, 1, 12, tzinfo=dt.UTC)


class Shelf:
    """Keeps rows in memory; away while `away`."""

    def __init__(self) -> None:
        self.rows: list[Unreadable] = []
        self.away = False

    async def keep(self, rows: Sequence[Unreadable]) -> None:
        if self.away:
            raise UnavailableError("away")
        self.rows += rows

    async def page(self, *, limit: int, after: str | None) -> Page:
        return Page([], None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


async def test_the_first_bytes_are_kept_with_where_they_came_from(clock: ManualClock) -> None:
    shelf = Shelf()
    quarantine = Quarantine(shelf, clock)
    quarantine.answer("submit", "too long", 200, b"x" * 1_000_000)
    quarantine.frame("not a JSON object", b"<html>")
    await quarantine.flush()
    first, second = shelf.rows
    assert (first.source, first.call, first.status) == ("answer", "submit", 200)
    assert (len(first.body), first.size, first.ts) == (BODY_MAX, 1_000_000, NOON)
    assert (second.source, second.body, second.status) == ("stream", b"<html>", None)


async def test_a_minute_has_its_fill_and_the_next_begins_anew(clock: ManualClock) -> None:
    shelf = Shelf()
    quarantine = Quarantine(shelf, clock)
    for _ in range(PER_MINUTE + 50):
        quarantine.frame("rubbish", b"?")
    await quarantine.flush()
    assert len(shelf.rows) == PER_MINUTE
    clock.advance(dt.timedelta(minutes=1))
    quarantine.frame("rubbish", b"?")
    await quarantine.flush()
    assert len(shelf.rows) == PER_MINUTE + 1


async def test_nothing_waits_without_bound_while_the_database_is_away(clock: ManualClock) -> None:
    shelf = Shelf()
    quarantine = Quarantine(shelf, clock)
    shelf.away = True
    for _ in range(10):
        for _ in range(PER_MINUTE):
            quarantine.frame("rubbish", b"?")
        with pytest.raises(UnavailableError):
            await quarantine.flush()
        clock.advance(dt.timedelta(minutes=1))
    shelf.away = False
    await quarantine.flush()
    assert len(shelf.rows) == PER_MINUTE


def test_bytes_are_shown_as_text_whatever_they_are() -> None:
    row = {"seq": 1, "ts": NOON, "source": "stream", "call": "x", "reason": "y", "status": None}
    assert shown({**row, "size": 4, "body": b"\xffa\x00b"})["body"] == "\\xffa\\0b"
