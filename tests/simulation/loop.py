"""An event loop on virtual time: no sockets, no threads, no waiting.

When nothing is ready the clock jumps to the next timer. Every callback belongs to a `Life`, one run
of one simulated process, by way of its context; a killed life's callbacks are never run again, so
no `finally` and no `except` of it is: what SIGKILL does.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import base_events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from heapq import heappop, heappush
from typing import Any, TypeVar

T = TypeVar("T")


class Life:
    """One run of one process, from its start to its end."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.dead = False
        # How many steps of the loop it has left, -1 for any number: its death at "every await".
        self.fuse = -1

    def __repr__(self) -> str:
        return f"{self.name}#{self.number}"


LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class Stalled(Exception):
    """Nothing is ready and no timer is set: everybody waits for ever."""


class Handle(list[Any]):
    """A callback that waits: when, which of those, what, with what, in which context.

    A list, because a heap compares lists without a frame of Python; a session makes thousands.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Let it not be called."""
        self[2] = None

    def cancelled(self) -> bool:
        """Tell whether it was cancelled."""
        return self[2] is None

    def when(self) -> float:
        """Return when it is due."""
        due: float = self[0]
        return due


class VirtualLoop(base_events.BaseEventLoop):
    """Runs callbacks in their order, timers in theirs; the same every time."""

    # It has no debug mode; futures ask for it one by one, and this is an answer without a frame.
    get_debug = staticmethod(bool)  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._queue: deque[Handle] = deque()
        self._timers: list[Handle] = []
        self._set = 0
        self.on_fuse: Callable[[Life], None] = lambda life: None
        self.handles = 0
        self.tasks: list[asyncio.Task[Any]] = []

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Run a coroutine, as part of the life that its context belongs to. It is kept whatever
        becomes of that life: nothing of it is to end by the garbage collector."""
        task: asyncio.Task[T] = asyncio.Task(
            coro,
            loop=self,
            name=None if name is None else str(name),
            context=context,  # type: ignore[arg-type]
        )
        self.tasks.append(task)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        """Run `callback` in the next turn, unless its life is over by then."""
        handle = Handle((0.0, 0, callback, args, copy_context() if context is None else context))
        self._queue.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        """Run `callback` after `delay` virtual seconds."""
        self._set = number = self._set + 1
        timer = Handle((
            self._now + delay, number, callback, args,
            copy_context() if context is None else context,
        ))  # fmt: skip
        heappush(self._timers, timer)
        return timer

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        """Run `callback` at virtual time `when`; of two at one time the one that was set first."""
        self._set = number = self._set + 1
        timer = Handle(
            (when, number, callback, args, copy_context() if context is None else context)
        )
        heappush(self._timers, timer)
        return timer

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Refuse: a thread would bring the machine's time in."""
        raise AssertionError(f"a thread for {func} in a simulation")

    def _run_once(self) -> None:
        """Take turns until the loop is told to stop.

        A turn runs what was ready when it began; the timers that are due come after that.
        """
        queue, timers, done = self._queue, self._timers, 0
        try:
            while not self._stopping:  # type: ignore[attr-defined]
                if not queue:
                    while timers and timers[0][2] is None:
                        heappop(timers)
                    if not timers:
                        raise Stalled(f"at {self._now:.6f} s")
                    self._now = max(self._now, timers[0][0])
                while timers and timers[0][0] <= self._now:
                    queue.append(heappop(timers))
                for _ in range(len(queue)):
                    handle = queue.popleft()
                    _, _, callback, args, context = handle
                    if callback is None:
                        continue
                    life = context.get(LIFE)
                    if life is not None:
                        if life.dead:
                            continue
                        if life.fuse >= 0:
                            life.fuse -= 1
                            if life.fuse < 0:
                                self.on_fuse(life)
                                continue
                    done += 1
                    try:
                        context.run(callback, *args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - the loop's edge
                        self.call_exception_handler(
                            {"message": "callback failed", "exception": error, "handle": handle}
                        )
        finally:
            self.handles += done

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Let it go: a task made by the garbage collector would come at no fixed time."""

    def bury(self) -> None:
        """Close what was left hanging, once nothing can come of it any more."""
        for task in self.tasks:
            if task.done():
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine = task.get_coro()
            for _ in range(20):
                try:
                    coroutine.close()  # type: ignore[union-attr]
                except RuntimeError:
                    continue  # it awaited while it was closed: close what it awaits
                break
        self._queue.clear()
        self._timers.clear()
        self.tasks.clear()


class Bell:
    """Wakes one who waits; rung while nobody waits, it rings on until somebody comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake who waits, or will."""
        self._rung = True
        if self._waiter is not None:
            wake(self._waiter)

    async def wait(self, timeout_s: float | None = None) -> None:
        """Return when it is rung, or after the time."""
        if not self._rung:
            self._waiter = waiter = self._loop.create_future()
            await until(waiter, timeout_s, self._loop)
        self._rung = False


class Letterbox:
    """What is put in is taken out in its order, by one who waits for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._bell = Bell(loop)
        self._letters: deque[Any] = deque()

    def put(self, letter: Any) -> None:
        """Put something in."""
        self._letters.append(letter)
        self._bell.ring()

    async def take(self) -> Any:
        """Take the next out, once there is one."""
        while not self._letters:
            await self._bell.wait()
        return self._letters.popleft()


async def until(
    waiter: asyncio.Future[None], timeout_s: float | None, loop: asyncio.AbstractEventLoop
) -> None:
    """Return when `waiter` is woken, or after the time."""
    if timeout_s is None:
        await waiter
        return
    timer = loop.call_later(timeout_s, wake, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def wake(waiter: asyncio.Future[None]) -> None:
    """End somebody's wait, unless it is over."""
    if not waiter.done():
        waiter.set_result(None)
