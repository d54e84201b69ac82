"""The end of tasks that somebody has begun."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

# A clean-up is left in peace for as long before it is asked again.
_AGAIN_S: Final = 1.0


async def end_all(tasks: Iterable[asyncio.Task[Any]], again_s: float = _AGAIN_S) -> None:
    """Cancel `tasks` and return when every one has ended; what they raised stays theirs.

    A library may swallow a cancellation, so who goes on is asked again each `again_s`. Whoever
    cancels the caller meanwhile waits too: nothing is left behind, and the cancellation is raised
    once all have ended. So what ends its own tasks by this, as clean-up, is not disturbed in it
    by being asked again.
    """
    loop = asyncio.get_running_loop()
    left = {task for task in tasks if not task.done()}
    held: asyncio.CancelledError | None = None
    while left:
        for task in left:
            task.cancel()
        asked = loop.time()
        while left and (patience := asked + again_s - loop.time()) > 0:
            try:
                _, left = await asyncio.wait(left, timeout=patience)
            except asyncio.CancelledError as error:
                held = error
                left = {task for task in left if not task.done()}
    if held is not None:
        raise held
