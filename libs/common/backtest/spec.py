"""What a backtest is asked to do, as a value that goes to JSON and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from libs.common.backtest.errors import SpecError
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import UTC, parse_ns, to_ns
from libs.common.kernel.errors import InvalidInputError

SYMBOLS_MAX = 5_000
STRATEGIES_MAX = 200
_DAY_NS = 86_400_000_000_000

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Ticker = Annotated[str, Meta(pattern=r"^[A-Z0-9./-]{1,32}$")]
Models = dict[str, Any]


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One strategy with its parameters, symbols and share of the account.

    `name` tells two choices of one class apart; empty means the class's name. `params` are checked
    by the strategy itself, which knows their ranges. Without a `weight` all strategies share alike;
    without a `sizing` a strategy's symbols do.
    """

    class_name: Name
    symbols: Annotated[tuple[Ticker, ...], Meta(min_length=1, max_length=SYMBOLS_MAX)]
    params: dict[str, Any] = {}
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{0,64}$")] = ""
    weight: Annotated[float, Meta(gt=0, le=100)] | None = None
    sizing: Models = {}

    def __post_init__(self) -> None:
        twice = _first_twice(self.symbols)
        if twice is not None:
            raise ValueError(f"{self.class_name}: {twice} is named twice in symbols")

    @property
    def title(self) -> str:
        """Return the name, or the class's where none was given."""
        return self.name or self.class_name


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where bars come from: the installed sample, a file or folder, the database."""

    kind: Literal["sample", "file", "store"] = "sample"
    path: str = ""

    def __post_init__(self) -> None:
        if (self.kind == "file") != bool(self.path):
            raise ValueError("source: a path goes with kind file, and only with it")


class BacktestSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run.

    `start` and `end` are dates (`2015-01-01`; the end's day belongs to the run) or RFC 3339 times
    (a bar that starts at `end` does not). Empty means as far as the data go. `models` chooses
    fills, costs and limits, `gap_days_max` is the longest hole that a series may have.
    """

    strategies: Annotated[tuple[Choice, ...], Meta(min_length=1, max_length=STRATEGIES_MAX)]
    timeframe: Timeframe = Timeframe.DAY
    start: str = ""
    end: str = ""
    cash: Annotated[float, Meta(gt=0, le=1e15)] = 1_000_000.0
    models: Models = {}
    source: Source = Source()
    benchmark: Annotated[str, Meta(pattern=r"^[A-Z0-9./-]{0,32}$")] = ""
    gap_days_max: Annotated[float, Meta(gt=0, le=36_500)] = 10.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 7

    def __post_init__(self) -> None:
        twice = _first_twice(tuple(choice.title for choice in self.strategies))
        if twice is not None:
            raise ValueError(f"two strategies are called {twice}; give them different names")
        start, end = self.start_ns, self.end_ns
        if start is not None and end is not None and end <= start:
            raise ValueError(f"end {self.end} is before start {self.start}")

    @property
    def start_ns(self) -> int | None:
        """Return the time of the first bar that may be traded, None for the first there is."""
        return moment_ns(self.start, "start") if self.start else None

    @property
    def end_ns(self) -> int | None:
        """Return the time before which the last bar starts, None for no end."""
        return moment_ns(self.end, "end", whole_day=True) if self.end else None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Return every symbol once, in the order of their first mention."""
        named = (symbol for choice in self.strategies for symbol in choice.symbols)
        wanted = dict.fromkeys(named)
        if self.benchmark:
            wanted[self.benchmark] = None
        return tuple(wanted)

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def spec_of(data: Mapping[str, Any] | bytes | str) -> BacktestSpec:
    """Return the checked spec. Raises SpecError that names the field."""
    try:
        if isinstance(data, bytes | str):
            return msgspec.json.decode(data, type=BacktestSpec)
        return msgspec.convert(data, BacktestSpec)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise SpecError(f"backtest: {error}") from error


def moment_ns(text: str, what: str, *, whole_day: bool = False) -> int:
    """Return a date's midnight UTC (with `whole_day` the next one) or the RFC 3339 time, in ns.

    Raises ValueError naming `what`.
    """
    if len(text) == 10:
        try:
            day = dt.date.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{what}: {text!r} is not a date like 2015-01-31") from error
        midnight = dt.datetime(day.year, day.month, day.day, tzinfo=UTC)
        return to_ns(midnight) + (_DAY_NS if whole_day else 0)
    try:
        return parse_ns(text, what)
    except InvalidInputError as error:
        raise ValueError(f"{what}: {text!r} is neither a date nor an RFC 3339 time") from error


def _first_twice(names: tuple[str, ...]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
