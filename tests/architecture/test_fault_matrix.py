"""The page of the fault matrix names tests that exist, and every fault test stands on it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / "tests" / "integration" / "trade_executor" / "faults"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = (n for n in tree.body if isinstance(n, ast.AsyncFunctionDef | ast.FunctionDef))
    return {one.name for one in functions if one.name.startswith("test_")}


def test_every_test_that_the_matrix_names_exists() -> None:
    named = NAMED.findall((ROOT / "docs" / "fault-matrix.md").read_text())
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (path := (ROOT if "/" in file else FAULTS) / file).exists()
        or test not in names_in(path)
    ]
    assert missing == []


def test_every_fault_test_stands_in_a_row() -> None:
    named = {test for _, test in NAMED.findall((ROOT / "docs" / "fault-matrix.md").read_text())}
    there = {test for path in FAULTS.glob("test_*.py") for test in names_in(path)}
    assert sorted(there - named) == []
