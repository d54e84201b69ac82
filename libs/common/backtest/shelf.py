"""Strategies by name, without compiling those that nobody asked for."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from libs.common.kernel.errors import NotFoundError
from libs.common.strategy.definition import snake_case
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.fusion import NAME as FUSION
from libs.common.strategy.fusion import with_fusion
from libs.common.strategy.loader import Loaded, load_file, strategy_files
from libs.common.strategy.registry import Registry, Vet, let_pass, load_directories


def load_named(names: Iterable[str], directories: Sequence[Path], vet: Vet = let_pass) -> Registry:
    """Return a registry that holds `names`; only files that define one of them are loaded, and only
    if `vet` lets them pass.

    Raises NotFoundError with the nearest names for one that no file defines, StrategyFileError for
    a broken file of a name that was asked for, or a name that two files define.
    """
    places = _places(directories)
    found: dict[str, Loaded] = {}
    for name in dict.fromkeys(names):
        if name in found:
            continue
        if name == FUSION:
            # Its members are named by its parameters: it may have any.
            found[name] = with_fusion(load_directories(directories, vet=vet)).get(name)
            continue
        paths = places.get(name, [])
        if not paths:
            raise _unknown(name, places)
        if len(paths) > 1:
            raise StrategyFileError(paths[1], 0, f"{name} is defined in {paths[0]} too")
        vet(paths[0])
        found |= {item.definition.name: item for item in load_file(paths[0])}
        if name not in found:  # a class of that name that is no strategy
            raise _unknown(name, found)
    return Registry(MappingProxyType(found))


def load_known(names: Iterable[str], directories: Sequence[Path], vet: Vet = let_pass) -> Registry:
    """Return a registry of those `names` that the directories have. Raises as `load_named`."""
    places = _places(directories)
    return load_named([name for name in names if name in {*places, FUSION}], directories, vet)


def _places(directories: Sequence[Path]) -> dict[str, list[Path]]:
    """Return which files may define which strategy, by the names of their classes.

    A file that Python cannot read is taken to define the strategy of its own name.
    """
    places: dict[str, list[Path]] = {}
    for directory in directories:
        for path in strategy_files(directory):
            for name in _classes(path):
                places.setdefault(name, []).append(path)
    return places


def _classes(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        yield path.stem
        return
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.bases:
            yield snake_case(node.name)


def _unknown(name: str, known: Iterable[str]) -> NotFoundError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    listed = ", ".join(names) or "none"
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are: {listed}"
    return NotFoundError(f"no strategy is called {name!r}; {hint}")
