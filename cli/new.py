"""`tradewind new …`: files to begin with."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Final, Literal

import typer

from cli.client import home
from cli.errors import CommandError, Exit
from infra.routes import ROOT

app = typer.Typer(help="Write files to begin with.", no_args_is_help=True)

_LETTERS_MAX: Final = 60
_BUILT_IN: Final = ROOT / "strategies"


@app.callback()
def main() -> None:
    """Write files to begin with."""


@app.command()
def strategy(
    name: Annotated[str, typer.Argument(help="As in my_idea: small letters, digits and _.")],
    kind: Annotated[
        Literal["single", "cross", "python"],
        typer.Option(help="One symbol, a universe at one time, or ordinary Python."),
    ] = "single",
) -> None:
    """Write a strategy that works, with its test beside it. Overwrites nothing."""
    folder = home().strategies
    problem = complaint(name, folder)
    if problem is not None:
        raise CommandError(f"{name}: {problem}", Exit.USAGE)
    class_name = class_of(name)
    words = {"name": name, "Class": class_name, "Title": name.replace("_", " ").capitalize()}
    written = {
        folder / f"{name}.py": _skeleton(kind, words),
        folder / f"test_{name}.py": _skeleton(f"{kind}_test", words),
    }
    for path in written:
        if path.exists():
            raise CommandError(f"{path} is there already; nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in written.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from error
    source, test = written
    typer.echo(f"{source}\n{test}")
    typer.echo(f"test it: pytest {test}\ncheck it: tradewind strategy check {source}")


def complaint(name: str, folder: Path) -> str | None:
    """Return what is wrong with the name of a new strategy, None if nothing is."""
    # With Numba behind it, for this command alone.
    from libs.common.strategy.definition import snake_case
    from libs.common.strategy.loader import strategy_files

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        near = re.sub(r"[^a-z0-9]+", "_", snake_case(name)).strip("_")
        usable = re.fullmatch(r"[a-z][a-z0-9_]*", near)
        hint = f"; {near} would do" if usable else ""
        return f"must begin with a small letter, then small letters, digits and _{hint}"
    if len(name) > _LETTERS_MAX:
        return f"must not have more than {_LETTERS_MAX} letters"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return "is a word of Python's own"
    if snake_case(class_of(name)) != name:
        return f"cannot be told from {snake_case(class_of(name))}; take that name"
    if name.startswith("test_"):
        return "begins with test_, as only tests do"
    taken = {path.stem: path for place in (_BUILT_IN, folder) for path in strategy_files(place)}
    if name in taken:
        return f"is taken by {taken[name]}; take another, such as my_{name}"
    return None


def class_of(name: str) -> str:
    """Return 'my_idea' as 'MyIdea'."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _skeleton(name: str, words: dict[str, str]) -> str:
    text = (files("cli.skeletons") / f"{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(words)
