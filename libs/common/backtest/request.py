"""What a run of any kind is asked to do: the body of a submission, the input of its process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from libs.common.backtest.errors import SpecError
from libs.common.backtest.spec import BacktestSpec, Models, moment_ns
from libs.common.backtest.sweep.plan import Folds, Plan, Steps

Kind = Literal["backtest", "sweep", "walk_forward", "cpcv", "parity"]
WANTS: Final[Mapping[str, frozenset[str]]] = {
    "backtest": frozenset({"spec"}),
    "sweep": frozenset({"spec", "plan"}),
    "walk_forward": frozenset({"spec", "plan", "steps"}),
    "cpcv": frozenset({"spec", "plan", "folds"}),
    "parity": frozenset({"recorded"}),
}
"""What goes with which kind, and only with it."""


class Recorded(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was recorded, to be replayed: a `day` of market time, or `start` to before `end`.

    `models`: the kernel's, as in a spec. `nightly`: nobody waits for it; tell if they differ.
    """

    day: str = ""
    start: str = ""
    end: str = ""
    models: Models = {}
    nightly: bool = False

    def __post_init__(self) -> None:
        if bool(self.day) == (bool(self.start) or bool(self.end)):
            raise ValueError("name a day, or start and end")
        if self.end_ns <= self.start_ns:
            raise ValueError(f"end {self.end} is before start {self.start}")

    @property
    def start_ns(self) -> int:
        """Return the time of the first bar (ns)."""
        return moment_ns(self.day or self.start, "start")

    @property
    def end_ns(self) -> int:
        """Return the time before which the last bar starts (ns)."""
        return moment_ns(self.day or self.end, "end", whole_day=bool(self.day))


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: its kind and what goes with it. `report`: write HTML too."""

    kind: Kind = "backtest"
    spec: BacktestSpec | None = None
    plan: Plan | None = None
    steps: Steps | None = None
    folds: Folds | None = None
    recorded: Recorded | None = None
    report: bool = True

    def __post_init__(self) -> None:
        fields = ("spec", "plan", "steps", "folds", "recorded")
        given = {name for name in fields if getattr(self, name) is not None}
        wanted = WANTS[self.kind]
        if missing := sorted(wanted - given):
            raise ValueError(f"kind {self.kind} wants {' and '.join(missing)}")
        if extra := sorted(given - wanted):
            raise ValueError(f"{' and '.join(extra)} does not go with kind {self.kind}")

    @property
    def traded(self) -> BacktestSpec:
        """Return the spec of a kind that has one."""
        assert self.spec is not None
        return self.spec

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def request_of(data: Mapping[str, Any] | bytes) -> Request:
    """Return the checked request. Raises SpecError that names the field."""
    try:
        if isinstance(data, bytes):
            request = msgspec.json.decode(data, type=Request)
        else:
            request = msgspec.convert(data, Request)
        if _holds_nul(request.to_json()):
            raise SpecError("request: a text holds a NUL, which no table takes")
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise SpecError(f"request: {error}") from error
    except RecursionError as error:
        raise SpecError("request: nested too deeply") from error
    return request


def _holds_nul(value: Any) -> bool:
    """Tell whether a text of JSON data holds a NUL."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(map(_holds_nul, (*value, *value.values())))
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))
