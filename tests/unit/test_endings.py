"""Tasks that are ended have ended: whatever swallows, cleans up slowly, or is cancelled meanwhile.

Intervals are tenths of a second; nothing is asserted of how long anything took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from libs.common.runtime.endings import end_all
from services.trade_executor.tasks import Tasks

AGAIN_S = 0.1
SLOW_S = 0.4
LIMIT_S = 30.0

Work = Callable[[], Coroutine[Any, Any, None]]


class Child:
    """Goes on for ever; `swallows` so many cancellations, and then cleans up."""

    def __init__(self, swallows: int = 0, cleanup: Work | None = None) -> None:
        self.asked = 0
        self.cleaned = False
        self._swallows = swallows
        self._cleanup = cleanup

    async def run(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.asked += 1
                if self.asked > self._swallows:
                    break
        if self._cleanup is not None:
            await self._cleanup()
        self.cleaned = True
        raise asyncio.CancelledError


async def begun(*works: Work) -> list[asyncio.Task[None]]:
    """Return tasks that have come to their first wait."""
    tasks = [asyncio.create_task(work()) for work in works]
    await asyncio.sleep(0)
    return tasks


async def test_who_swallows_a_cancellation_is_asked_again() -> None:
    child, plain = Child(swallows=2), Child()
    tasks = await begun(child.run, plain.run)
    async with asyncio.timeout(LIMIT_S):
        await end_all(tasks, AGAIN_S)
    assert all(task.cancelled() for task in tasks)
    assert (child.asked, plain.asked) == (3, 1)


async def test_what_a_child_raises_stays_its_own() -> None:
    async def breaks() -> None:
        raise OSError("no route")

    child = Child(cleanup=breaks)
    (task,) = await begun(child.run)
    await end_all([task], AGAIN_S)
    assert isinstance(task.exception(), OSError)


async def test_slow_cleanup_is_waited_for_and_left_in_peace_for_the_interval() -> None:
    async def slowly() -> None:
        await asyncio.sleep(SLOW_S)

    child = Child(cleanup=slowly)
    tasks = await begun(child.run)
    async with asyncio.timeout(LIMIT_S):
        await end_all(tasks, LIMIT_S)
    assert child.cleaned


async def test_cleanup_that_ends_tasks_of_its_own_is_not_disturbed_by_being_asked_again() -> None:
    async def slowly() -> None:
        await asyncio.sleep(SLOW_S)

    grandchild = Child(cleanup=slowly)
    inner = await begun(grandchild.run)
    child = Child(cleanup=lambda: end_all(inner, LIMIT_S))
    tasks = await begun(child.run)
    async with asyncio.timeout(LIMIT_S):
        await end_all(tasks, AGAIN_S)  # asks several times while the grandchild cleans up
    assert grandchild.cleaned
    assert grandchild.asked == 1
    assert inner[0].cancelled()
    assert tasks[0].cancelled()


async def test_who_is_cancelled_while_ending_leaves_nobody_behind() -> None:
    release = asyncio.Event()

    async def until_released() -> None:
        await release.wait()

    child = Child(cleanup=until_released)
    tasks = await begun(child.run)
    stopper = asyncio.create_task(end_all(tasks, LIMIT_S))
    await asyncio.sleep(0)
    for word in ("first", "second"):
        stopper.cancel(word)
        await asyncio.sleep(0.01)
    assert not stopper.done()
    assert not tasks[0].done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await stopper
    assert child.cleaned
    assert child.asked == 1
    assert stopper.cancelled()


async def test_a_time_out_around_it_is_told_as_one_once_all_have_ended() -> None:
    async def slowly() -> None:
        await asyncio.sleep(SLOW_S)

    child = Child(cleanup=slowly)
    tasks = await begun(child.run)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await end_all(tasks, LIMIT_S)
    assert child.cleaned


async def test_nothing_to_end_is_no_wait() -> None:
    async def ends() -> None:
        return

    tasks = await begun(ends)
    await end_all([*tasks, *tasks])
    await end_all([])


async def test_background_work_that_swallows_a_cancellation_ends_with_its_tasks() -> None:
    tasks, child = Tasks(), Child(swallows=1)
    tasks.spawn("swallows", child.run)
    await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT_S):
        await tasks.stop()
    assert child.asked == 2
    assert len(tasks) == 0


async def test_background_work_within_background_work_ends_too() -> None:
    outer, inner = Tasks(), Tasks()

    async def slowly() -> None:
        await asyncio.sleep(SLOW_S)

    grandchild = Child(cleanup=slowly)

    async def works() -> None:
        inner.spawn("inner", grandchild.run)
        try:
            await asyncio.Event().wait()
        finally:
            await inner.stop()

    outer.spawn("outer", works)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(LIMIT_S):
        await outer.stop()
    assert grandchild.cleaned
    assert (len(outer), len(inner)) == (0, 0)
