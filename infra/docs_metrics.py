"""The generated part of docs/metrics.md: every metric with definition, source and peer."""

from __future__ import annotations

from itertools import groupby

from libs.common.quant.metrics.catalogue import CATALOGUE, Entry
from libs.common.quant.validation import CRISES


def metrics() -> str:
    """Return the catalogue of metrics as Markdown, a table a group."""
    parts = []
    for group, entries in groupby(CATALOGUE, lambda entry: entry.group):
        lines = [
            f"## {group}",
            "",
            "| metric | field | definition | source | equals |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(entry) for entry in entries]
        parts.append("\n".join(lines))
    return "\n\n".join((*parts, crises()))


def crises() -> str:
    """Return the crisis windows as Markdown."""
    lines = [
        "## Crisis windows",
        "",
        "Bad times of US equities; a curve is measured from the close of the first day to that of "
        "the last, if it has both.",
        "",
        "| crisis | from | to | source of the dates |",
        "|---|---|---|---|",
    ]
    lines += [f"| {c.name} | {c.first} | {c.last} | {c.source} |" for c in CRISES]
    return "\n".join(lines)


def _row(entry: Entry) -> str:
    cells = (entry.label, f"`{entry.name}`", entry.definition, entry.source, entry.peer)
    # A bar in a formula would end the cell.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
