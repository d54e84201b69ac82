"""A story is told once, in order, with the time between its steps."""

from __future__ import annotations

import datetime as dt

from services.audit.story import Step, tell

T0 = dt.datetime(2026, 11, 20, 15, 30, tzinfo=dt.UTC)


def step(kind: str, key: str, ms: float | None, seq: int | None = None) -> Step:
    ts = None if ms is None else T0 + dt.timedelta(milliseconds=ms)
    return Step(kind=kind, key=key, title=kind, service="x", ts=ts, seq=seq)


def test_steps_come_in_time_order_with_gaps() -> None:
    story = tell(
        "id", [step("trade", "t", 30, 3), step("signal", "s", 0, 1), step("bar", "b", None)]
    )
    assert [timed.step.kind for timed in story.steps] == ["bar", "signal", "trade"]
    assert [timed.since_previous_ms for timed in story.steps] == [None, 0.0, 30.0]
    assert story.steps[2].since_start_ms == 30.0
    assert story.duration_ms == 30.0


def test_same_instant_keeps_the_way_of_a_tick() -> None:
    kinds = ["ledger", "trade", "approval", "judgement", "signal"]
    story = tell("id", [step(kind, "k", 0, 1) for kind in kinds])
    assert [timed.step.kind for timed in story.steps] == kinds[::-1]


def test_step_of_table_and_log_is_one_and_the_recorded_one_wins() -> None:
    story = tell("id", [step("trade", "t", 1), step("trade", "t", 1, 9), step("trade", "t", 1)])
    assert [timed.step.seq for timed in story.steps] == [9]
    assert story.unrecorded == 0


def test_unrecorded_counts_what_should_be_in_the_log_and_is_not_yet() -> None:
    story = tell("id", [step("trade", "t", 1), step("ledger", "l", 1), step("bar", "b", None)])
    assert story.unrecorded == 1


def test_nothing_makes_an_empty_story() -> None:
    assert tell("id", []).steps == []
