"""The built-in strategy `fusion`: several compiled strategies on one symbol, one target."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from libs.common.quant.fusion import Conflict
from libs.common.strategy.definition import Definition, Kind, Params, SingleDefinition
from libs.common.strategy.errors import InvalidParamsError
from libs.common.strategy.loader import Loaded
from libs.common.strategy.parameters import Schema, Value, integer, number
from libs.common.strategy.registry import Registry

NAME: Final = "fusion"
# So that target, weight, confidence, decay and quality of each fit into a signal's features.
MEMBERS_MAX: Final = 6
_MEMBERS_MIN: Final = 2
_WEIGHT: Final = "weight"
_SCHEMA: Final = Schema(
    NAME,
    {
        "conflict": integer(0, low=0, high=2, meaning="0 net, 1 agree, 2 strongest"),
        "half_life": integer(60, low=0, high=100_000, meaning="bars; 0: opinions do not age"),
        "band": number(0.05, low=0.0, high=1.0, meaning="smaller changes are no signal"),
        "trips_min": integer(10, low=1, high=10_000, meaning="trips before a quality counts"),
    },
)
_WEIGHTS: Final = number(1.0, low=0.001, high=1000.0)


@dataclass(frozen=True)
class FusionDefinition(Definition):
    """A strategy made of others. `known`: those that may be members; `barred`: why others may not.

    A member is named by its parameters: `sma_cross.weight`, `sma_cross.fast`; one class twice by a
    mark behind it: `sma_cross#slow.weight`.
    """

    kind = Kind.FUSION

    known: Mapping[str, SingleDefinition]
    barred: Mapping[str, str]

    def parse(self, raw: Mapping[str, object]) -> dict[str, Value]:
        """Return the checked parameters, those of the members included; raises
        InvalidParamsError that lists every problem."""
        own = {name: value for name, value in raw.items() if "." not in name}
        word = own.get("conflict")
        if isinstance(word, str) and word.upper() in Conflict.__members__:
            own["conflict"] = int(Conflict[word.upper()])
        problems: list[str] = []
        values: dict[str, Value] = {}
        try:
            values.update(self.schema.parse(own))
        except InvalidParamsError as error:
            problems += error.problems
        members = members_of(raw)
        if not _MEMBERS_MIN <= len(members) <= MEMBERS_MAX:
            problems.append(
                f"needs {_MEMBERS_MIN} to {MEMBERS_MAX} members, got {len(members)}; "
                "name each by its weight, as in sma_cross.weight=1"
            )
        for label, given in members.items():
            try:
                values.update(self._parsed(label, given))
            except InvalidParamsError as error:
                problems += [f"{label}: {problem}" for problem in error.problems]
        if problems:
            raise InvalidParamsError(self.name, tuple(problems))
        return values

    def member(self, label: str) -> SingleDefinition:
        """Return the strategy of a member. Raises InvalidParamsError if it can be none."""
        name = label.partition("#")[0]
        definition = self.known.get(name)
        if definition is not None:
            return definition
        problem = self.barred.get(name)
        if problem is None:
            near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            problem = f"no strategy is called {name!r}{hint}"
        raise InvalidParamsError(self.name, (problem,))

    def compile(self) -> None:
        """Compile nothing: the members are compiled already."""

    @property
    def place(self) -> tuple[str, int]:
        """Return this file: the step is that of `FusionRunner`."""
        return __file__, 1

    def _parsed(self, label: str, given: Mapping[str, object]) -> dict[str, Value]:
        definition = self.member(label)
        weight = given.get(_WEIGHT, _WEIGHTS.default)
        problem = _WEIGHTS.problem(weight)
        if problem is not None:
            raise InvalidParamsError(self.name, (f"{_WEIGHT}: {problem}",))
        assert isinstance(weight, int | float)
        rest = {name: value for name, value in given.items() if name != _WEIGHT}
        values = {_WEIGHT: float(weight), **definition.parse(rest)}
        return {f"{label}.{name}": value for name, value in values.items()}


def members_of(params: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return each member's weight and parameters by its label, sorted: the order of writing means
    nothing."""
    members: dict[str, dict[str, object]] = {}
    for name in sorted(params):
        label, dot, field = name.partition(".")
        if dot:
            members.setdefault(label, {})[field] = params[name]
    return members


def with_fusion(registry: Registry, directories: Collection[Path] | None = None) -> Registry:
    """Return the registry with `fusion` of the compiled strategies on one symbol in it.

    Members may only be those of files in `directories`, if these are given.
    """
    allowed = None if directories is None else {path.resolve() for path in directories}
    others = {name: one for name, one in registry.strategies.items() if name != NAME}
    known: dict[str, SingleDefinition] = {}
    # A file that is refused mostly bears the name of the strategy that it would define.
    barred = {error.path.stem: f"its file is refused: {error}" for error in registry.refused}
    barred[NAME] = "a fusion cannot be a member of another"
    for name, loaded in others.items():
        definition = loaded.definition
        if not isinstance(definition, SingleDefinition) or _WEIGHT in definition.schema.fields:
            barred[name] = (
                "a member is a compiled strategy on one symbol, without a parameter `weight`"
            )
        elif allowed is not None and loaded.path.parent not in allowed:
            barred[name] = "it steps in a process of its own: its directory is not in trusted_dirs"
        else:
            known[name] = definition
    versions = sorted((name, others[name].version_hash) for name in known)
    loaded = Loaded(_definition(known, barred), Path(__file__), _hash(versions))
    return replace(registry, strategies=MappingProxyType({**others, NAME: loaded}))


def _definition(
    known: Mapping[str, SingleDefinition], barred: Mapping[str, str]
) -> FusionDefinition:
    def warmup(params: Params) -> int:
        counts = []
        for label, given in members_of(params).items():
            member = known[label.partition("#")[0]]
            counts.append(member.warmup({n: params[f"{label}.{n}"] for n in given if n != _WEIGHT}))
        return max(counts, default=1)

    return FusionDefinition(
        name=NAME,
        class_name="Fusion",
        summary="Several strategies on one symbol make one target.",
        schema=_SCHEMA,
        warmup=warmup,
        constraint=lambda _: None,
        known=known,
        barred=barred,
    )


def _hash(versions: Collection[tuple[str, str]]) -> str:
    own = Path(__file__).read_bytes()
    return hashlib.sha256(own + repr(versions).encode()).hexdigest()
