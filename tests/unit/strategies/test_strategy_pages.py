"""Every built-in strategy has its page, with the parameters that it really has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libs.common.strategy.loader import strategy_files

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "strategies"
NAMES = [path.stem for path in strategy_files(ROOT / "strategies")]
ROW = re.compile(r"^\| `(\w+)` \| (\S+) \| (\S+) … (\S+) \|", re.MULTILINE)
PARAMETER = re.compile(
    r"^        (\w+) = (?:integer|number)\(\s*(\S+), low=(\S+), high=([^\s,)]+)", re.MULTILINE
)


def plain(number: str) -> float:
    return float(number.replace("_", "").replace(",", ""))


@pytest.mark.parametrize("name", NAMES)
def test_page_tells_the_parameters_as_they_are(name: str) -> None:
    source = (ROOT / "strategies" / f"{name}.py").read_text(encoding="utf-8")
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    have = [(n, *map(plain, numbers)) for n, *numbers in PARAMETER.findall(source)]
    told = [(n, *map(plain, numbers)) for n, *numbers in ROW.findall(page)]
    assert told == have


@pytest.mark.parametrize("name", NAMES)
def test_page_has_idea_source_and_what_it_fails_at(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# `{name}`")
    for part in ("**Idea.**", "**Source.**", "**Decision.**", "**Warm-up.**", "**When it fails.**"):
        assert part in page, part


def test_index_lists_them_all() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\)", index, re.MULTILINE)
    assert all(name == page for name, page in listed)
    assert {name for name, _ in listed} == set(NAMES)
