"""Who runs the trials: this process, threads, processes, or a Ray cluster. The same bits always."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from libs.common.backtest.data import History
from libs.common.backtest.errors import SpecError
from libs.common.backtest.shelf import load_named
from libs.common.backtest.spec import spec_of
from libs.common.backtest.sweep.workshop import Trial, Workshop
from libs.common.strategy.parameters import Value

Points = Sequence[Mapping[str, Value]]
Crew = Callable[[Iterator[Points]], Iterator[list[Trial]]]
"""Runs batches of points; gives the trials of each batch, in the order of the batches."""
Kind = Literal["auto", "threads", "processes", "ray"]
AHEAD: Final = 2
"""Batches a worker may have waiting: memory stays flat however many trials there are."""


def workers_of(wanted: int | None) -> int:
    """Return how many workers: as many as cores, unless said."""
    return wanted or len(os.sched_getaffinity(0))


def kind_of(kind: Kind, workshop: Workshop) -> Kind:
    """Return who is meant by `auto`: a cluster that RAY_ADDRESS names, threads for machine code,
    else processes."""
    if kind != "auto":
        return kind
    if os.environ.get("RAY_ADDRESS"):
        return "ray"
    return "threads" if workshop.compiled else "processes"


@contextmanager
def crew_of(
    kind: Kind, workshop: Workshop, directories: Sequence[Path], workers: int | None
) -> Iterator[Crew]:
    """Gather a crew for the block."""
    count = workers_of(workers)
    match kind_of(kind, workshop):
        case "ray":
            with _ray(workshop, directories, count) as crew:
                yield crew
        case "processes":
            with _processes(workshop, directories, count) as crew:
                yield crew
        case _:
            with ThreadPoolExecutor(count) as pool:
                yield lambda batches: _in_order(pool, workshop.trials, batches, count)


def _in_order(
    pool: Executor, work: Callable[[Points], list[Trial]], batches: Iterator[Points], workers: int
) -> Iterator[list[Trial]]:
    """Give the trials in the order of the batches, a few batches ahead of who takes them."""
    waiting: list[Future[list[Trial]]] = []
    for batch in batches:
        waiting.append(pool.submit(work, batch))
        if len(waiting) >= workers * AHEAD:
            yield waiting.pop(0).result()
    while waiting:
        yield waiting.pop(0).result()


_own: list[Workshop] = []


def _settle(path: str) -> None:
    """Make this process's workshop from the file that all read."""
    job = pickle.loads(Path(path).read_bytes())  # nosec B301 # our parent wrote it
    _own.append(workshop_of(job))


def _work(batch: Points) -> list[Trial]:
    return _own[0].trials(batch)


def luggage_of(workshop: Workshop, directories: Sequence[Path]) -> tuple[Any, ...]:
    """Return what a worker elsewhere needs to make the same workshop."""
    history = workshop.history
    facts = (history.timeframe, dict(history.bars), history.source, history.closes_only)
    folders = tuple(str(each) for each in directories)
    return workshop.spec.to_json(), facts, folders, workshop.returns


def workshop_of(luggage: tuple[Any, ...]) -> Workshop:
    """Return the workshop that `luggage_of` packed."""
    data, (timeframe, bars, source, closes_only), directories, returns = luggage
    spec = spec_of(data)
    names = [choice.class_name for choice in spec.strategies]
    registry = load_named(names, [Path(each) for each in directories])
    # A cluster's shared memory is read-only, which to machine code is another type of array.
    own = {symbol: np.array(each) for symbol, each in bars.items()}
    history = History(timeframe, own, source, closes_only)
    return Workshop(spec, history, registry, returns=returns)


@contextmanager
def _processes(workshop: Workshop, directories: Sequence[Path], workers: int) -> Iterator[Crew]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Not forked: this process may have threads, and machine code of its own.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "luggage"
        path.write_bytes(pickle.dumps(luggage_of(workshop, directories)))
        with ProcessPoolExecutor(
            workers, mp_context=context, initializer=_settle, initargs=(str(path),)
        ) as pool:
            yield lambda batches: _in_order(pool, _work, batches, workers)


@contextmanager
def _ray(workshop: Workshop, directories: Sequence[Path], workers: int) -> Iterator[Crew]:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise SpecError("a Ray cluster needs the package ray (extra `cluster`)") from error
    address = os.environ.get("RAY_ADDRESS")
    mine = not ray.is_initialized()
    if mine:
        _join(ray, address, workers)
    try:
        luggage = ray.put(luggage_of(workshop, directories))
        hand = ray.remote(_Hand)
        hands = [hand.remote(luggage) for _ in range(workers)]
        yield lambda batches: _by_hands(ray, hands, batches)
    finally:
        if mine:
            ray.shutdown()


def _join(ray: Any, address: str | None, workers: int) -> None:
    root = str(Path(__file__).resolve().parents[4])
    environment = {"env_vars": {"PYTHONPATH": root, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
    options: dict[str, Any] = {"log_to_driver": False, "runtime_env": environment}
    if address is None:
        options |= {"num_cpus": workers, "include_dashboard": False, "address": "local"}
    ray.init(**options)


class _Hand:
    """One worker of a cluster, with a workshop of its own."""

    def __init__(self, luggage: tuple[Any, ...]) -> None:
        self._workshop = workshop_of(luggage)

    def trials(self, batch: Points) -> list[Trial]:
        """Run a batch."""
        return self._workshop.trials(batch)


def _by_hands(ray: Any, hands: Sequence[Any], batches: Iterator[Points]) -> Iterator[list[Trial]]:
    waiting: list[Any] = []
    for number, batch in enumerate(batches):
        waiting.append(hands[number % len(hands)].trials.remote(list(batch)))
        if len(waiting) >= len(hands) * AHEAD:
            yield ray.get(waiting.pop(0))
    while waiting:
        yield ray.get(waiting.pop(0))
