"""Strategy files in, definitions out; a broken file is refused with its line.

A file is ordinary Python and runs with the engine's rights: load only what you trust.
"""

from __future__ import annotations

import hashlib
import importlib.util
import linecache
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from libs.common.strategy.definition import Definition
from libs.common.strategy.errors import StrategyFileError
from libs.common.strategy.fields import unknown_field
from libs.common.strategy.interface import Base

_REASON_LINES: Final = 6
_BASES: Final = "Strategy, CrossStrategy or PythonStrategy"


@dataclass(frozen=True)
class Loaded:
    """A definition with where it came from; `version_hash` is the SHA-256 of the file."""

    definition: Definition
    path: Path
    version_hash: str


def load_file(path: Path) -> tuple[Loaded, ...]:
    """Import one strategy file, compile its steps and return its strategies.

    Raises StrategyFileError with file, line and reason for whatever is wrong with it: syntax,
    an error while importing, a broken definition, a step that Numba cannot compile, no strategy.
    """
    path = path.resolve()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise StrategyFileError(path, 0, f"cannot be read: {error.strerror}") from error
    version = hashlib.sha256(source).hexdigest()
    module = _import(path)
    found = [
        item.definition
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, Base)
        and "definition" in vars(item)
        and item.__module__ == module.__name__
    ]
    if not found:
        raise StrategyFileError(
            path, 0, "defines no subclass of Strategy, CrossStrategy or PythonStrategy"
        )
    for definition in found:
        _compile(path, definition)
    return tuple(Loaded(definition, path, version) for definition in found)


def strategy_files(directory: Path) -> tuple[Path, ...]:
    """Return the strategy files of `directory`, sorted; left out are names that begin with `_`, and
    tests (`test_…`), which may stand beside what they test."""
    return tuple(sorted(p for p in directory.glob("*.py") if not p.name.startswith(("_", "test_"))))


def _import(path: Path) -> ModuleType:
    # Compiled code finds its globals through this name, in this process and from the cache.
    name = f"tradewind_strategies.{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    linecache.checkcache(str(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise StrategyFileError(path, 0, "is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        _put_back(name, before)
        raise _refusal(path, error) from error
    return module


def _put_back(name: str, before: ModuleType | None) -> None:
    if before is None:
        del sys.modules[name]
    else:
        sys.modules[name] = before


def _refusal(path: Path, error: BaseException) -> StrategyFileError:
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return StrategyFileError(path, error.lineno or 0, f"syntax: {error.msg}")
    return StrategyFileError(path, _line_in(path, error), f"{type(error).__name__}: {error}")


def _compile(path: Path, definition: Definition) -> None:
    unknown = unknown_field(path.read_text(encoding="utf-8"), definition)
    if unknown is not None:
        raise StrategyFileError(path, *unknown)
    try:
        definition.compile()
    except Exception as error:  # Numba raises KeyError, AssertionError and more beside its own
        text = f"{type(error).__name__}: {error}"
        line = _compile_line(path, error) or definition.place[1]
        reason = " ".join(part.strip() for part in text.splitlines()[:_REASON_LINES])
        raise StrategyFileError(
            path, line, f"{definition.class_name}.step does not compile: {reason}"
        ) from error


def _compile_line(path: Path, error: Exception) -> int:
    # A Numba error carries the place where it gave up, which may be in an indicator.
    place = getattr(error, "loc", None)
    if place is None or Path(str(place.filename)).resolve() != path:
        return 0
    return int(place.line)


def _line_in(path: Path, error: BaseException) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return (lines[-1] or 0) if lines else 0
