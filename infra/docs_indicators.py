"""The generated part of docs/indicators.md: every indicator as its docstring defines it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from libs.common.quant import indicators

LABELS: Final = ("Formula", "Parameters", "Warm-up", "Source", "Equals", "Example")


@dataclass(frozen=True)
class Described:
    """An indicator's docstring taken apart: its first line, and the text of each label."""

    name: str
    signature: str
    state: str
    heading: str
    summary: str
    texts: dict[str, str]

    @property
    def warmup(self) -> str:
        """Return the number of bars until all values are defined, as an expression."""
        found = re.match(r"`([^`]+)`", self.texts["Warm-up"])
        assert found, f"{self.name}: Warm-up must begin with an expression in backticks"
        return found[1]


def public_indicators() -> dict[str, Callable[..., Any]]:
    """Return the update function of every public indicator by name."""
    return {
        name: getattr(indicators, name)
        for name in indicators.__all__
        if not name.endswith("_state")
    }


def described(name: str) -> Described:
    """Return what the docstring of indicator `name` says; raises ValueError if a label lacks."""
    update: Any = public_indicators()[name]
    text = inspect.getdoc(update.py_func) or ""
    summary, *labelled = re.split(rf"^({'|'.join(LABELS)}): ", text, flags=re.MULTILINE)
    texts = dict(zip(labelled[::2], map(_line, labelled[1::2]), strict=True))
    if tuple(texts) != LABELS:
        raise ValueError(f"{name}: docstring must have {', '.join(LABELS)}, has {', '.join(texts)}")
    state = f"{name}_state" if hasattr(indicators, f"{name}_state") else "extreme_state"
    module = sys.modules[update.py_func.__module__]
    return Described(
        name,
        _signature(name, update.py_func),
        _signature(state, getattr(indicators, state)),
        _line(module.__doc__ or ""),
        _line(summary),
        texts,
    )


def indicator_page() -> str:
    """Return the table of all indicators and a section for each, by the files they stand in."""
    found = [described(name) for name in public_indicators()]
    found.sort(key=lambda item: (item.heading, item.name))
    return "\n\n".join(("\n".join(_table(found)), *_sections(found)))


def _table(found: list[Described]) -> Iterator[str]:
    yield "| indicator | what it returns | warm-up, bars |"
    yield "|---|---|---|"
    for item in sorted(found, key=lambda item: item.name):
        what = item.summary.removeprefix("Return ").rstrip(".")
        yield f"| [`{item.name}`](#{item.name}) | {what} | `{item.warmup}` |"


def _sections(found: list[Described]) -> Iterator[str]:
    heading = ""
    for item in found:
        if item.heading != heading:
            heading = item.heading
            yield f"## {heading.rstrip('.')}"
        lines = [f"### {item.name}", "", item.summary, ""]
        lines += ["```text", item.signature, item.state, "```", ""]
        lines += [f"- **{label}:** {text}" for label, text in item.texts.items()]
        yield "\n".join(lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _signature(name: str, function: Callable[..., Any]) -> str:
    arguments = [
        item.name if item.default is inspect.Parameter.empty else f"{item.name}={item.default}"
        for item in inspect.signature(function).parameters.values()
    ]
    return f"{name}({', '.join(arguments)})"
