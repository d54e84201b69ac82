"""Every `tradewind …` and `make …` that a page quotes can be typed as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from cli.main import app

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?:```|~~~)[^\n]*\n(.*?)^(?:```|~~~)", re.DOTALL | re.MULTILINE)
PROMPT = re.compile(r"^\s*(?:\$ )?(?:exec |time )?(?:\.venv/bin/)?(?=(?:tradewind|make)\b)")
INLINE = re.compile(r"`((?:tradewind|make)(?: [^`\n]+)?)`")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def pages() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).exists()]


def typed(text: str) -> Iterator[list[str]]:
    """Yield the commands of the code blocks; what stands two blanks apart explains them."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if PROMPT.match(line):
                command = re.split(r"\s{2,}", PROMPT.sub("", line).strip())[0]
                yield shlex.split(command, comments=True)


def mentioned(text: str) -> Iterator[list[str]]:
    """Yield the commands in the running text; they may leave arguments away."""
    for command in INLINE.findall(FENCE.sub("", text)):
        yield command.split()


def complaint(words: list[str], *, whole: bool) -> str | None:
    """Return what is wrong with a command; of one that is not `whole`, only its name counts."""
    if words[0] == "make":
        unknown = [w for w in words[1:] if "=" not in w and w not in targets()]
        return f"no target {unknown}" if unknown else None
    command: Any = typer.main.get_command(app)
    context = typer.Context(command, info_name="tradewind")
    rest = words[1:]
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        if found is None:
            return f"there is no {rest[0]}"
        command, rest = found, rest[1:]
    if not whole:
        return None
    try:
        command.make_context(words[0], rest)
    except typer.Exit:
        return None  # --help
    except Exception as error:  # noqa: BLE001 - the command line says what is wrong with it
        return f"{type(error).__name__}: {error}"
    return None


def targets() -> set[str]:
    return set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


def test_quoted_commands_exist() -> None:
    wrong, seen = [], 0
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for whole, commands in ((True, typed(text)), (False, mentioned(text))):
            for words in commands:
                seen += 1
                why = complaint(words, whole=whole)
                if why is not None:
                    wrong.append(f"{page.relative_to(ROOT)}: {' '.join(words)}: {why}")
    assert wrong == []
    assert seen > 40, "the pages are read wrongly"


def test_commands_that_do_not_exist_are_seen() -> None:
    bad = ("tradewind nosuch", "tradewind strategy nosuch", "tradewind order buy --colour red",
           "tradewind strategy mode x paper", "tradewind trace", "make nosuch")  # fmt: skip
    good = (
        "tradewind --help",
        "tradewind order buy KO 25",
        "tradewind trace ID",
        "make run FEED=x",
    )
    assert [line for line in bad if complaint(line.split(), whole=True) is None] == []
    assert [complaint(line.split(), whole=True) for line in good] == [None] * len(good)


def test_commands_are_found_in_a_page() -> None:
    block = '$ tradewind halt "a b"    # why\n.venv/bin/tradewind orders\nmake run  X\n'
    page = f"```console\n{block}```\n"
    assert list(typed(page)) == [
        ["tradewind", "halt", "a b"],
        ["tradewind", "orders"],
        ["make", "run"],
    ]
    assert list(mentioned(page + "see `make docs` and `makes`")) == [["make", "docs"]]
