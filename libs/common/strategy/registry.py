"""All strategies known by name, and the files that were refused."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from libs.common.kernel.errors import NotFoundError
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.loader import Loaded, load_file, strategy_files


@dataclass(frozen=True)
class Registry:
    """Strategies by name as of one loading; `refused` says which files are not in it and why."""

    strategies: Mapping[str, Loaded]
    refused: tuple[StrategyFileError, ...] = ()

    def get(self, name: str) -> Loaded:
        """Return the strategy called `name`. Raises NotFoundError with the nearest names."""
        loaded = self.strategies.get(name)
        if loaded is not None:
            return loaded
        near = difflib.get_close_matches(name, self.strategies, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "known are: " + self._known()
        raise NotFoundError(f"no strategy is called {name!r}; {hint}")

    def _known(self) -> str:
        return ", ".join(sorted(self.strategies)) or "none"


EMPTY = Registry(MappingProxyType({}))


Vet = Callable[[Path], None]
"""Asked before a file is loaded; raises StrategyFileError where it must not be."""


def let_pass(_: Path) -> None:
    """Let every file pass: for a process that may hang or die."""


def load_directories(
    directories: Iterable[Path], before: Registry = EMPTY, vet: Vet = let_pass
) -> Registry:
    """Load all strategy files of `directories` that `vet` lets pass.

    A strategy whose file has not changed since `before` stays the very same object. A file that
    is broken now keeps the strategies that it gave to `before`, and is listed as refused. So is
    one that defines a name which an earlier one defined.
    """
    strategies: dict[str, Loaded] = {}
    refused: list[StrategyFileError] = []
    for path in (p.resolve() for d in directories for p in strategy_files(d)):
        try:
            vet(path)
            found = load_file(path)
        except StrategyFileError as error:
            refused.append(error)
            found = tuple(item for item in before.strategies.values() if item.path == path)
        for loaded in found:
            name = loaded.definition.name
            if name in strategies:
                other = strategies[name].path
                refused.append(StrategyFileError(path, 0, f"{name} is defined in {other} too"))
                continue
            known = before.strategies.get(name)
            same = known is not None and known.version_hash == loaded.version_hash
            strategies[name] = known if known is not None and same else loaded
    return Registry(MappingProxyType(strategies), tuple(refused))
