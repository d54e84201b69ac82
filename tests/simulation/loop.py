"""An event loop on virtual time: no sockets, no threads, no waiting.

When nothing is ready the clock jumps to the next timer. Every callback belongs to a `Life`, one run
of one simulated process, by way of its context; a killed life's callbacks are never run again, so
no `finally` and no `except` of it is: what SIGKILL does.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from asyncio import base_events, events
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakSet


class Life:
    """One run of one process, from its start to its end."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.dead = False
        self.steps = 0
        # How many steps of the loop it has left, -1 for any number: its death at "every await".
        self.fuse = -1
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()

    def __repr__(self) -> str:
        return f"{self.name}#{self.number}"


LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class Stalled(Exception):
    """Nothing is ready and no timer is set: everybody waits for ever."""


class VirtualLoop(base_events.BaseEventLoop):
    """Runs callbacks in their order, timers in theirs; the same every time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._set = 0
        self.on_fuse: Callable[[Life], None] = lambda life: None
        self.handles = 0
        self.set_task_factory(_task_of_life)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Run `callback` in the next turn, unless its life is over by then."""
        context = contextvars.copy_context() if context is None else context
        handle = events.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` after `delay` virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Run `callback` at virtual time `when`; of two at one time the one that was set first."""
        context = contextvars.copy_context() if context is None else context
        timer = events.TimerHandle(when, callback, args, self, context)
        self._set += 1
        heapq.heappush(self._timers, (when, self._set, timer))
        return timer

    def call_soon_threadsafe(
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Refuse: a thread would bring the machine's time in."""
        raise AssertionError(f"a thread for {func} in a simulation")

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        if not ready:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise Stalled(f"at {self._now:.6f} s")
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            context = handle._context
            life = context.get(LIFE)
            if life is not None:
                if life.dead:
                    continue
                life.steps += 1
                if life.fuse >= 0:
                    life.fuse -= 1
                    if life.fuse < 0:
                        self.on_fuse(life)
                        continue
            self.handles += 1
            # What Handle._run does, without a frame of its own.
            try:
                context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 - the loop's edge
                self.call_exception_handler(
                    {"message": "callback failed", "exception": error, "handle": handle}
                )

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Let it go: a task made by the garbage collector would come at no fixed time."""

    def bury(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Close what was left hanging, once nothing can come of it any more."""
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            for _ in range(20):
                try:
                    coroutine.close()  # type: ignore[union-attr]
                except RuntimeError:
                    continue  # it awaited while it was closed: close what it awaits
                break
        self._ready.clear()  # type: ignore[attr-defined]
        self._timers.clear()


def _task_of_life(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    context = options.get("context")
    life = context.get(LIFE) if context is not None else LIFE.get()
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if life is not None:
        life.tasks.add(task)
    return task
