"""Keeps the children alive: ordered start, restart with back-off, ordered stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from infra.embedded.child import EXIT_REFUSED, Child, ChildRecord, ChildState, spawn, terminate
from infra.embedded.errors import StartError
from infra.embedded.logs import LogFiles
from libs.common.kernel.clock import NS_PER_SECOND, Clock

Report = Callable[[str, str], None]
"""Takes a level (`info`, `warning`, `error`) and a sentence."""

LOG_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait before a restart: the first is quick, each further one twice as long; and
    when a child that runs counts as hung: `hung_misses` times in a row without an answer, asked
    every `hung_probe_s`."""

    delay_s_first: float = 0.25
    delay_s_max: float = 30.0
    stable_s: float = 60.0
    start_attempts: int = 3
    poll_s: float = 0.1
    rotate_s: float = 5.0
    hung_probe_s: float = 5.0
    hung_misses: int = 10

    def delay_s(self, failures: int) -> float:
        """Return the wait before restart number `failures` (from 1): 0.25, 0.5, 1, … 30."""
        return float(min(self.delay_s_max, self.delay_s_first * 2.0 ** min(failures - 1, 32)))


class Supervisor:
    """Owns the processes that it started itself, and no others."""

    def __init__(
        self, logs: LogFiles, report: Report, clock: Clock, policy: RestartPolicy | None = None
    ) -> None:
        self._logs = logs
        self._report = report
        self._clock = clock
        self._policy = policy or RestartPolicy()
        self._children: dict[str, Child] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.records: dict[str, ChildRecord] = {}

    async def start(self, child: Child) -> None:
        """Run `child`, keep it running from now on, and return when it is ready.

        Raises StartError when it isn't ready in its time or ends too often before it is.
        """
        record = ChildRecord()
        self.records[child.name] = record
        self._children[child.name] = child
        self._tasks[child.name] = asyncio.create_task(
            self._keep(child, record), name=f"keep {child.name}"
        )
        try:
            async with asyncio.timeout(child.ready_timeout_s):
                await self._until_ready(child, record)
        except TimeoutError as error:
            raise StartError(
                f"{child.name} was not ready after {child.ready_timeout_s:g} s: "
                f"{record.reason or 'no answer'}",
                self._log_hint(child, record),
            ) from error

    async def start_all(self, children: Iterable[Child]) -> None:
        """Start several at once; raises the first StartError after all have come to an end."""
        results = await asyncio.gather(
            *(self.start(child) for child in children), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def stop(self, name: str) -> None:
        """End the child called `name` for good; nothing happens where it never ran."""
        task = self._tasks.pop(name, None)
        if task is None:
            return
        record = self.records[name]
        record.stopping = True
        record.state = ChildState.STOPPING
        if record.process is None:
            task.cancel()
        elif not await terminate(record.process, self._children[name]):
            self._report("warning", f"{name} did not stop in time and was killed")
        await asyncio.gather(task, return_exceptions=True)
        record.state = ChildState.STOPPED
        record.pid = None
        self._report("info", f"{name} stopped ({_exit_words(record.exit_code)})")

    async def stop_all(self, order: Iterable[str]) -> None:
        """Stop the named children one after another, then whatever else runs, youngest first."""
        for name in order:
            await self.stop(name)
        for name in reversed(list(self._tasks)):
            await self.stop(name)

    async def rotate_logs(self) -> None:
        """Cut long logs, for ever; run as a task."""
        while True:
            await asyncio.sleep(self._policy.rotate_s)
            try:
                await asyncio.to_thread(self._logs.rotate)
            except OSError as error:
                self._report("error", f"logs could not be rotated: {error}")

    async def _keep(self, child: Child, record: ChildRecord) -> None:
        failures = 0
        while True:
            started_ns = self._clock.monotonic_ns()
            await self._live_once(child, record)
            if record.stopping:
                return
            if record.exit_code == EXIT_REFUSED and not record.was_ready:
                record.state = ChildState.STOPPED
                record.refused = True
                return
            lived_s = (self._clock.monotonic_ns() - started_ns) / NS_PER_SECOND
            failures = 1 if lived_s >= self._policy.stable_s else failures + 1
            delay_s = self._policy.delay_s(failures)
            record.state = ChildState.WAITING
            record.restarts += 1
            self._report(
                "error",
                f"{child.name} {record.reason} after {lived_s:.1f} s; "
                f"restart {record.restarts} in {delay_s:g} s",
            )
            await asyncio.sleep(delay_s)

    async def _live_once(self, child: Child, record: ChildRecord) -> None:
        record.state = ChildState.STARTING
        try:
            log = self._logs.open(child.name)
            record.log_from = os.lseek(log, 0, os.SEEK_END)
            try:
                process = await spawn(child, log)
            finally:
                os.close(log)
        except OSError as error:
            record.exit_code = None
            record.reason = f"cannot be run: {error}"
            return
        record.process = process
        record.pid = process.pid
        record.started_at_ns = self._clock.now_ns()
        watch = asyncio.create_task(self._watch_ready(child, record))
        try:
            record.exit_code = await process.wait()
        finally:
            watch.cancel()
            record.process = None
            record.pid = None
            record.ready.clear()
        hung, record.hung = record.hung, ""
        record.reason = hung or f"ended with {_exit_words(record.exit_code)}"

    async def _watch_ready(self, child: Child, record: ChildRecord) -> None:
        while True:
            reason = await child.ready()
            if reason is None:
                break
            record.reason = reason
            await asyncio.sleep(self._policy.poll_s)
        if record.state is ChildState.STARTING:
            record.state = ChildState.RUNNING
            record.reason = ""
            record.was_ready = True
            record.ready.set()
            again = " again" if record.restarts else ""
            self._report("info", f"{child.name} is ready{again} (pid {record.pid})")
            if child.watched:
                await self._watch_alive(child, record)

    async def _watch_alive(self, child: Child, record: ChildRecord) -> None:
        """Ask the child for as long as it answers; kill it when it has not for too long.

        A stopped process, or one whose event loop is blocked, never ends by itself; SIGTERM would
        wait for it in vain.
        """
        misses = 0
        while misses < self._policy.hung_misses:
            await asyncio.sleep(self._policy.hung_probe_s)
            reason = await child.ready()
            misses = 0 if reason is None else misses + 1
        if record.process is not None and not record.stopping:
            record.hung = f"did not answer {misses} times and was killed"
            record.process.kill()

    async def _until_ready(self, child: Child, record: ChildRecord) -> None:
        while not record.ready.is_set():
            if record.refused:
                said = self._logs.tail(child.name, LOG_TAIL_LINES, record.log_from)
                raise StartError(f"{child.name} refuses to start: {said or record.reason}")
            if record.restarts >= self._policy.start_attempts:
                raise StartError(
                    f"{child.name} does not start: it {record.reason}, "
                    f"{record.restarts} times in a row",
                    self._log_hint(child, record),
                )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._policy.poll_s):
                    await record.ready.wait()

    def _log_hint(self, child: Child, record: ChildRecord) -> str:
        tail = self._logs.tail(child.name, LOG_TAIL_LINES, record.log_from)
        return f"the end of {self._logs.path(child.name)}:\n{tail or '(empty)'}"


def _exit_words(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
