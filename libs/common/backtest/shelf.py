"""Strategies by name, without compiling those that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType

from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.loader import Loaded, load_file
from libs.common.strategy.registry import Registry, load_directories


def load_named(names: Iterable[str], directories: Sequence[Path]) -> Registry:
    """Return a registry that holds at least `names`, if the directories have them.

    A strategy is looked for in the file of its name; only if one is not there are all files
    loaded. Raises StrategyFileError for a broken file of a name that was asked for.
    """
    found: dict[str, Loaded] = {}
    for name in dict.fromkeys(names):
        if name in found:
            continue
        files = [path for d in directories if (path := d / f"{name}.py").is_file()]
        if len(files) != 1:
            return _all(directories, names)
        found |= {item.definition.name: item for item in load_file(files[0])}
        if name not in found:
            return _all(directories, names)
    return Registry(MappingProxyType(found))


def _all(directories: Sequence[Path], names: Iterable[str]) -> Registry:
    registry = load_directories(directories)
    for name in names:
        if name not in registry.strategies:
            _raise_if_broken(name, registry.refused)
    return registry


def _raise_if_broken(name: str, refused: Sequence[StrategyFileError]) -> None:
    for error in refused:
        if error.path.stem == name:
            raise error
