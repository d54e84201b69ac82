"""The process in which a strategy steps that nobody has to trust.

`python -m services.strategy_engine.sandbox SETUP` reads jobs on standard input and answers them on
standard output, each message being four bytes of length and MessagePack. What the strategy prints
goes to standard error. On SIGUSR1 it writes there where it is.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import numpy as np

from libs.common.domain.timeframes import Timeframe
from libs.common.quant.simulation.records import BAR, DECISION
from libs.common.strategy.cross_runner import CrossRunner
from libs.common.strategy.errors import StepError
from libs.common.strategy.kinds import runner_of
from libs.common.strategy.loader import load_file
from libs.common.strategy.protocol import Stepper
from services.strategy_engine.features import features_of

_PR_SET_PDEATHSIG: Final = 1
_MEBIBYTE: Final = 1 << 20
HEAD: Final = 4


class Setup(msgspec.Struct):
    """Which strategy is run here."""

    path: str
    version: str
    name: str
    params: dict[str, int | float]
    timeframe: str
    memory_mb: int


class Job(msgspec.Struct):
    """Bars for one stream. `memory`: where it stands, None for a blank one; `history`: bars (BAR)
    of each symbol to be stepped over first, without signals. Then `moments`, each the bars of one
    time by the symbol's place; or, where `replay` is set, that history gives signals, too."""

    symbols: list[str]
    memory: bytes | None
    history: list[bytes] = []
    replay: bool = False
    moments: list[list[tuple[int, bytes]]] = []


class Given(msgspec.Struct):
    """A signal: of which moment (of which bar in a replay), symbol, decision, and the close."""

    index: int
    place: int
    decision: bytes
    close: float
    features: dict[str, float] = {}


class Done(msgspec.Struct):
    """What came of a job. `steps` moments went well; `error` says why the next one did not."""

    memory: bytes
    steps: int
    given: list[Given]
    error: str = ""


def close_of(runner: Stepper, symbol: str, bars: Mapping[str, np.void]) -> float:
    """Return the close that the decision on `symbol` saw."""
    if symbol in bars:
        return float(bars[symbol]["close"])
    assert isinstance(runner, CrossRunner)
    return float(runner.memory["last"]["close"][runner.symbols.index(symbol)])


def work(runner: Stepper, job: Job) -> Done:
    """Do a job with the runner of its symbols."""
    if job.memory is not None:
        runner.restore(job.memory)
    given: list[Given] = []
    steps = 0
    good = runner.save()
    try:
        if job.history:
            history = {
                # A copy: compiled loops are made for arrays that may be written.
                symbol: np.frombuffer(bytearray(part), BAR)
                for symbol, part in zip(job.symbols, job.history, strict=True)
            }
            if job.replay:
                given = _replayed(runner, history)
            else:
                runner.warm(history)
            good = runner.save()
        for steps, moment in enumerate(job.moments):
            bars = {job.symbols[i]: np.frombuffer(bar, BAR)[0] for i, bar in moment}
            given += [
                Given(
                    steps,
                    job.symbols.index(stated.symbol),
                    stated.decision.tobytes(),
                    close_of(runner, stated.symbol, bars),
                    features_of(runner),
                )
                for stated in runner.take(bars)
            ]
            good = runner.save()
    except (StepError, MemoryError) as error:
        runner.restore(good)
        return Done(good, steps, given, str(error) or "out of memory")
    return Done(good, len(job.moments), given)


def _replayed(runner: Stepper, history: Mapping[str, np.ndarray]) -> list[Given]:
    found = runner.decide(history)
    names = DECISION.names or ()
    given = []
    for place, symbol in enumerate(runner.symbols):
        for row in found[symbol]:
            decision = np.zeros(1, DECISION)
            for name in names:
                decision[name] = row[name]
            given.append(Given(int(row["index"]), place, decision.tobytes(), 0.0))
    return given


def _serve(setup: Setup, requests: BinaryIO, answers: BinaryIO) -> None:
    loaded = {item.definition.name: item for item in load_file(Path(setup.path))}
    if setup.name not in loaded or loaded[setup.name].version_hash != setup.version:
        sys.exit(f"{setup.path} has changed since it was loaded: swap, or reload")
    definition = loaded[setup.name].definition
    runners: dict[tuple[str, ...], Stepper] = {}
    decoder, encoder = msgspec.msgpack.Decoder(Job), msgspec.msgpack.Encoder()
    _bound_memory(setup.memory_mb)
    while len(head := requests.read(HEAD)) == HEAD:
        job = decoder.decode(requests.read(int.from_bytes(head)))
        symbols = tuple(job.symbols)
        if symbols not in runners or job.memory is None:
            runners[symbols] = runner_of(
                definition, setup.params, symbols, Timeframe(setup.timeframe)
            )
        answer = encoder.encode(work(runners[symbols], job))
        answers.write(len(answer).to_bytes(HEAD) + answer)
        answers.flush()


def _bound_memory(memory_mb: int) -> None:
    """Let the process grow by so much; what asks for more gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + memory_mb * _MEBIBYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Serve until standard input ends, or the engine does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=False)
    _serve(msgspec.json.decode(sys.argv[1], type=Setup), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
