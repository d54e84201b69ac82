"""The questions of the look-ahead check, one function each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.common.quant.validation.permutation import permuted_bars
from libs.common.strategy.errors import StepError
from libs.common.strategy.honesty.differences import (
    Difference,
    History,
    Subject,
    first_difference,
)
from libs.common.strategy.honesty.reach import Reached

ONE_BY_ONE_MAX: Final = 3_000
_VALUES_MIN: Final = 20
# So many weeks that weekdays and seasons stay.
_SHIFT_NS: Final = 364 * 86_400_000_000_000
_CHANGES_MIN: Final = 10
_COLUMNS: Final = ("close", "open", "high", "low", "volume")


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. `proof`: a strategy that fails it does look ahead; else there is
    an innocent explanation too, and a person must judge."""

    name: str
    question: str
    proof: bool
    passed: bool
    detail: str
    difference: Difference | None = None


def count_before(bars: np.ndarray, ts: int) -> int:
    """Return how many bars start before `ts`."""
    return int(np.searchsorted(bars["ts"], ts, side="left"))


def _passed(name: str, question: str, *, proof: bool) -> Check:
    return Check(name, question, proof, True, "yes")


def _attempt(
    subject: Subject, run: Callable[[History], dict[str, np.ndarray]], history: History
) -> dict[str, np.ndarray] | str:
    """Return the signals, or how the step failed, which it did not on all bars."""
    try:
        return run(history)
    except StepError as error:
        return f"on these bars alone it fails: {error}"


def same(
    name: str, question: str, subject: Subject, history: History, full: History,
    variants: Iterable[dict[str, np.ndarray]], cuts: list[int],
) -> Check:  # fmt: skip
    """Return whether the runs on `variants` decide before their cut as the `full` one does."""
    worst: tuple[int, str, Difference | None] | None = None
    for variant, cut in zip(variants, cuts, strict=True):
        got = _attempt(subject, subject.run, variant)
        failure: tuple[int, str, Difference | None]
        if isinstance(got, str):
            failure = (cut, got, None)
        else:
            until = {s: count_before(b, cut) for s, b in history.items()}
            difference = first_difference(history, full, got, until)
            if difference is None:
                continue
            failure = (difference.ts, str(difference), difference)
        if worst is None or failure[0] < worst[0]:
            worst = failure
    if worst is None:
        return _passed(name, question, proof=True)
    return Check(name, question, True, False, worst[1], worst[2])


def one_by_one(subject: Subject, history: History, full: History, times: np.ndarray) -> Check:
    """Return whether bars handed over as live give the decisions of the `full` run."""
    name, question = "one by one", "Are they the same with the bars handed over one by one?"
    end = int(times[min(len(times), ONE_BY_ONE_MAX) - 1]) + 1
    part = {s: b[: count_before(b, end)] for s, b in history.items()}
    got = _attempt(subject, subject.run_one_by_one, part)
    if isinstance(got, str):
        return Check(name, question, True, False, got)
    difference = first_difference(history, full, got, {s: len(b) for s, b in part.items()})
    if difference is None:
        return _passed(name, question, proof=True)
    return Check(name, question, True, False, str(difference), difference)


def repeated(subject: Subject, history: History, full: History) -> Check:
    """Return whether a second run repeats the first: nothing is kept between runs."""
    name, question = "repeated", "Does a second run decide as the first?"
    got = _attempt(subject, subject.run, history)
    if isinstance(got, str):
        return Check(name, question, True, False, got)
    difference = first_difference(history, full, got)
    if difference is None:
        return _passed(name, question, proof=True)
    return Check(name, question, True, False, str(difference), difference)


def holds_prices(found: tuple[Reached, ...], history: History) -> Check:
    """Return whether data that the step reads is free of the columns of the bars."""
    name, question = "data in the code", "Is what the step reads beside the bars free of them?"
    for item in found:
        if item.values is None:
            continue
        for symbol, bars in history.items():
            for column in _COLUMNS:
                values = np.unique(bars[column])
                if len(values) > _VALUES_MIN and np.isin(values, item.values).mean() > 0.5:
                    detail = f"{item} holds the {column} of the bars of {symbol}"
                    return Check(name, question, True, False, detail)
    return _passed(name, question, proof=True)


def blind(found: tuple[Reached, ...]) -> Check:
    """Return whether the step reads no data beside its bars."""
    name, question = "nothing but bars", "Does the step read nothing but bars, state, parameters?"
    if not found:
        return _passed(name, question, proof=False)
    detail = "it reads " + ", ".join(str(item) for item in found)
    return Check(name, question, False, False, detail)


def dates(subject: Subject, history: History, full: History) -> Check:
    """Return whether the same bars 52 weeks earlier give the same decisions."""
    name, question = "other dates", "Are decisions the same 52 weeks earlier?"
    moved = {s: b.copy() for s, b in history.items()}
    for bars in moved.values():
        bars["ts"] -= _SHIFT_NS
    got = _attempt(subject, subject.run, moved)
    if isinstance(got, str):
        return Check(name, question, False, False, got)
    difference = first_difference(history, full, got)
    if difference is None:
        return _passed(name, question, proof=False)
    return Check(name, question, False, False, str(difference), difference)


def prices(
    subject: Subject, history: History, full: History, generator: np.random.Generator
) -> Check:
    """Return whether shuffled bars change the decisions at all."""
    name, question = "other prices", "Do decisions depend on the prices?"
    changes = sum(len(signals) for signals in full.values())
    if changes < _CHANGES_MIN:
        return Check(name, question, False, True, f"only {changes} signals: nothing to tell")
    got = _attempt(
        subject, subject.run, {s: permuted_bars(b, generator) for s, b in history.items()}
    )
    if isinstance(got, str) or first_difference(history, full, got) is not None:
        return _passed(name, question, proof=False)
    detail = f"all {changes} signals are the same on shuffled bars"
    return Check(name, question, False, False, detail)
