"""The engine's end of a strategy's own process: jobs out, answers back, or the end of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from libs.common.kernel.clock import from_ns
from libs.common.kernel.errors import TradewindError
from libs.common.quant.simulation.records import DECISION, SIGNAL
from libs.common.runtime.logging import get_logger
from libs.common.strategy.loader import Loaded
from services.strategy_engine.keepsake import keep
from services.strategy_engine.metrics import WORKERS_ENDED
from services.strategy_engine.sandbox import HEAD, Done, Job, Setup

_log = get_logger(__name__)

_DYING_S: Final = 2.0
_ROOT: Final = Path(__file__).resolve().parents[2]
_LOOK_S: Final = 0.5
_START_S: Final = 60.0
_BAR_S: Final = 0.002
_LINES: Final = 200


class WorkerEndedError(TradewindError):
    """The strategy's process did not answer in time, or died."""


class Worker:
    """One strategy's process: started with its first job, ended when it takes too long."""

    def __init__(
        self,
        loaded: Loaded,
        params: Mapping[str, int | float],
        timeframe: str,
        *,
        step_s: float,
        memory_mb: int,
    ) -> None:
        self._loaded = loaded
        self._copy = str(keep(loaded))
        self._setup = Setup(
            self._copy,
            loaded.version_hash,
            loaded.definition.name,
            dict(params),
            timeframe,
            memory_mb,
        )
        self._step_s = step_s
        self._process: Process | None = None
        self._said: deque[str] = deque(maxlen=_LINES)
        self._ears: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Done)

    async def run(self, job: Job) -> Done:
        """Return what came of a job.

        Raises WorkerEndedError, which names file and line, where its process had to be ended or
        died; the next job gets a new one.
        """
        bars = len(job.moments) + sum(map(len, job.history)) // 48
        async with self._turn:
            limit = self._step_s + bars * _BAR_S
            if self._process is None:
                limit += _START_S
                await self._start()
            try:
                async with asyncio.timeout(limit):
                    done = await self._ask(job)
                done.error = self._told(done.error)
                return done
            except TimeoutError as error:
                line = await self._line()
                code = await self.end()
                WORKERS_ENDED.labels("late").inc()
                raise WorkerEndedError(
                    f"{line}: the step did not return within {self._step_s:g} s"
                ) from error
            except (EOFError, ConnectionError) as error:
                code = await self.end(patience_s=_DYING_S)
                WORKERS_ENDED.labels("died").inc()
                said = self._told(" ".join(list(self._said)[-3:]))
                raise WorkerEndedError(
                    f"{self._place()}: the process that ran the step died (exit code {code})"
                    + (f": {said}" if said else "")
                ) from error
            except BaseException:
                # Half an answer may be on its way.
                await self.end()
                raise

    async def replay(
        self, symbols: tuple[str, ...], memory: bytes | None, history: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], Done]:
        """Return the signals (SIGNAL) that stepping over `history` gives, and the memory after.

        Raises WorkerEndedError.
        """
        parts = [history[symbol].tobytes() for symbol in symbols]
        done = await self.run(Job(list(symbols), memory, parts, replay=True))
        signals = {}
        for place, symbol in enumerate(symbols):
            rows = [given for given in done.given if given.place == place]
            signals[symbol] = np.zeros(len(rows), SIGNAL)
            for row, given in zip(signals[symbol], rows, strict=True):
                decision = np.frombuffer(given.decision, DECISION)[0]
                row["index"] = given.index
                for name in DECISION.names or ():
                    row[name] = decision[name]
        return signals, done

    async def end(self, *, patience_s: float = 0.0) -> int | None:
        """End the process, if there is one; return its exit code.

        One that is dying gets `patience_s` to do so: a kill would reap it and lose the code.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        code = await process.wait()
        if self._ears is not None:
            await self._ears
        return code

    async def _start(self) -> None:
        self._said.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.strategy_engine.sandbox",
            msgspec.json.encode(self._setup).decode(),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=_ROOT,
            # It needs none of our addresses and passwords.
            env={name: v for name, v in os.environ.items() if not name.startswith("TRADEWIND_")},
            # Ctrl-C at the terminal is the engine's to act on.
            start_new_session=True,
        )
        self._ears = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: Process) -> None:
        assert process.stderr is not None
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:  # a line beyond the buffer
                continue
            if not line:
                return
            self._said.append(line.decode(errors="replace").strip())

    async def _ask(self, job: Job) -> Done:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        data = self._encoder.encode(job)
        process.stdin.write(len(data).to_bytes(HEAD) + data)
        await process.stdin.drain()
        head = await process.stdout.readexactly(HEAD)
        return self._decoder.decode(await process.stdout.readexactly(int.from_bytes(head)))

    async def _line(self) -> str:
        """Return file and line where the step is; its first line where that cannot be seen."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(_LOOK_S)
        place = re.compile(rf'File "{re.escape(self._copy)}", line (\d+)')
        for said in self._said:
            if found := place.search(said):
                return f"{self._loaded.path}:{found[1]}: {self._loaded.definition.name}"
        return self._place()

    def _told(self, text: str) -> str:
        """Return a message of the process about the file that its author knows."""
        return text.replace(self._copy, str(self._loaded.path))

    def _place(self) -> str:
        path, line = self._loaded.definition.place
        return f"{path}:{line}: {self._loaded.definition.name}"


def on_bar(ts: int, symbols: tuple[str, ...]) -> str:
    """Return words for the bar that starts at `ts`."""
    return f"bar {from_ns(ts):%Y-%m-%d %H:%M:%S UTC} of {', '.join(symbols[:3])}"
