"""Trials on disk as they come: one JSON line each, so that a sweep can be cut short and go on."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from libs.common.backtest.errors import DataError
from libs.common.backtest.sweep.workshop import Trial

JOURNAL: Final = "journal.jsonl"


class Journal:
    """Appends trials to a file and reads back those of an earlier run of the same sweep.

    The first line says what is swept. A last line that was cut short is dropped. Raises DataError
    if the file belongs to another sweep: other data, code, models or plan.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / JOURNAL
        self._header = json.loads(json.dumps(header))
        self._end = self._check()
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.truncate(self._end)
        self._file.seek(self._end)
        if self._end == 0:
            self._write(self._header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, trials: Sequence[Trial]) -> None:
        """Append trials; they are on disk when this returns, as far as the system is asked."""
        for trial in trials:
            self._write(
                {
                    "params": trial.params,
                    "metrics": trial.metrics,
                    "equity_last": trial.equity_last,
                    "error": trial.error,
                    "skipped": trial.skipped,
                    **({"returns": trial.returns} if trial.returns else {}),
                }
            )
        self._file.flush()

    def keep(self, count: int) -> None:
        """Forget all trials but the first `count`."""
        self._file.flush()
        with self.path.open("rb") as file:
            self._end = sum(len(line) for line in itertools.islice(file, count + 1))
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def trials(self) -> Iterator[Trial]:
        """Yield what is kept, one after the other."""
        self._file.flush()
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                yield Trial(**json.loads(line))

    def _write(self, value: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    def _check(self) -> int:
        """Return where the last whole line ends."""
        if not self.path.exists():
            return 0
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if end == 0 and json.loads(line) != self._header:
                    raise DataError(
                        f"{self.path} belongs to another sweep (other data, code, models or plan); "
                        "choose another folder"
                    )
                end += len(line)
        return end
