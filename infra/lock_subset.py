"""Cut from requirements.lock what a container needs, hashes and all.

`python infra/lock_subset.py [extra …]` prints the part of the lock that the project's base
dependencies and the named extras lead to, following the lock's own `# via` notes. So an image
installs exactly the locked files without the development tools. Standard library only: it runs
before anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "tradewind"
NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


def canonical(name: str) -> str:
    """Return a package name as PEP 503 compares them: `TA_Lib` is `ta-lib`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def blocks(lock: str) -> dict[str, str]:
    """Return the lock's text by package: pin, hashes and notes."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lock.splitlines():
        match = NAME.match(line)
        if match is not None:
            current = found.setdefault(canonical(match.group(1)), [])
        current.append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def parents(block: str) -> set[str]:
    """Return who asked for a package, from the `# via` notes of its block."""
    notes = [line.strip() for line in block.splitlines() if line.strip().startswith("#")]
    names = (note.lstrip("# ").removeprefix("via").strip() for note in notes)
    return {canonical(match.group(1)) for name in names if (match := NAME.match(name))}


def requirements(project: Mapping[str, object], extras: Iterable[str]) -> set[str]:
    """Return the names that pyproject.toml asks for; raises KeyError for an unknown extra."""
    asked = list(_strings(project["dependencies"]))
    optional = project["optional-dependencies"]
    assert isinstance(optional, dict)
    for extra in extras:
        asked += _strings(optional[extra])
    return {canonical(match.group(1)) for text in asked if (match := NAME.match(text))}


def subset(lock: str, wanted: set[str]) -> str:
    """Return the blocks of `wanted` and of everything that they pull in, in the lock's order."""
    found = blocks(lock)
    asked_by = {name: parents(block) for name, block in found.items()}
    chosen = wanted & found.keys()
    while True:
        added = {name for name, askers in asked_by.items() if askers & chosen} - chosen
        if not added:
            break
        chosen |= added
    return "\n".join(block for name, block in found.items() if name in chosen) + "\n"


def _strings(value: object) -> Iterable[str]:
    assert isinstance(value, list)
    return (str(item) for item in value)


def main() -> None:
    """Print the subset for the extras named on the command line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = requirements(project, sys.argv[1:])
    sys.stdout.write(subset((ROOT / "requirements.lock").read_text(), wanted))


if __name__ == "__main__":
    main()
