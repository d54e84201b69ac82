"""The nightly replay: which day, once, and who is told of what."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import SequentialIds
from services.backtester.desk import Desk
from services.backtester.hub import Hub
from services.backtester.nightly import Nightly, Nights, notice_of
from services.backtester.ports import Ended, Run, Status

NOW = dt.datetime(2024, 1, 3, 2, 30, tzinfo=dt.UTC)
CLOCK = ManualClock(NOW)


class Sessions:
    """Knows one day."""

    def __init__(self, day: str | None) -> None:
        self.day = day

    async def last_day(self) -> str | None:
        if self.day == "away":
            raise UnavailableError("database: away")
        return self.day


class Queue:
    """Takes runs, one for a key."""

    def __init__(self) -> None:
        self.runs: dict[str | None, Run] = {}

    async def submit(
        self, run_id: uuid.UUID, kind: str, request: Mapping[str, Any], key: str | None, _: int
    ) -> Run:
        return self.runs.setdefault(key, run_of(request, run_id, kind))


def run_of(request: Mapping[str, Any], run_id: uuid.UUID, kind: str = "parity") -> Run:
    return Run(run_id, kind, Status.RUNNING, request, None, None, None, [], 1, NOW, NOW, None)


def nightly(queue: Queue, day: str | None) -> Nightly:
    desk = Desk(queue, None, Hub(), CLOCK, Path(), "test", notice_of)  # type: ignore[arg-type]
    return Nightly(queue, desk, SequentialIds(), Sessions(day), 10)  # type: ignore[arg-type]


async def test_each_recorded_day_is_queued_once() -> None:
    queue = Queue()
    first = await nightly(queue, "2024-01-02").queue()
    again = await nightly(queue, "2024-01-02").queue()
    assert first is not None
    assert first is again
    assert first.request["recorded"]["day"] == "2024-01-02"
    await nightly(queue, "2024-01-03").queue()
    assert len(queue.runs) == 2
    assert await nightly(queue, None).queue() is None
    await nightly(queue, "away").try_to_queue()
    assert len(queue.runs) == 2


async def test_it_waits_for_its_time() -> None:
    async def task() -> None:
        raise AssertionError("not now")

    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    nights = Nights(task, later.hour, later.minute)
    await nights.start()
    (job,) = nights._scheduler.get_jobs()
    assert (job.next_run_time.hour, job.next_run_time.minute) == (later.hour, later.minute)
    await nights.stop()


@pytest.mark.parametrize(
    ("causes", "unexplained", "level"),
    [
        ({}, 0, None),
        ({"data": 2}, 0, Level.WARNING),
        ({"data": 2, "unexplained": 1}, 1, Level.ERROR),
    ],
)
def test_a_difference_is_told_with_its_causes(
    causes: dict[str, int], unexplained: int, level: Level | None
) -> None:
    run = run_of({"recorded": {"day": "2024-01-02", "nightly": True}}, uuid.uuid4())
    ended = Ended({"unexplained": unexplained, "decisions": {"causes": causes}}, None)
    notice = notice_of(run, Status.DONE, ended, CLOCK)
    assert (None if notice is None else notice.level) == level
    if notice is not None:
        assert "data 2" in notice.message
        assert notice.fingerprint == "nightly_parity:2024-01-02"


def test_what_somebody_asked_for_is_not_told_to_all_and_a_failure_at_night_is() -> None:
    run = run_of({"recorded": {"day": "2024-01-02", "nightly": True}}, uuid.uuid4())
    failed = notice_of(run, Status.FAILED, Ended(None, "out of memory"), CLOCK)
    assert failed is not None
    assert failed.message == "out of memory"
    assert notice_of(run, Status.CANCELLED, Ended(None, None), CLOCK) is None
    asked = replace(run, request={"recorded": {"day": "2024-01-02", "nightly": False}})
    assert notice_of(asked, Status.FAILED, Ended(None, "out of memory"), CLOCK) is None
    other = replace(run, request={"recorded": None})
    assert notice_of(other, Status.FAILED, Ended(None, "out of memory"), CLOCK) is None
