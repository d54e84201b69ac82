"""The generated part of docs/metrics.md: every metric with definition, source and peer."""

from __future__ import annotations

from itertools import groupby

from libs.common.quant.metrics.catalogue import CATALOGUE, Entry


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
    return "\n\n".join(parts)


def _row(entry: Entry) -> str:
    cells = (entry.label, f"`{entry.name}`", entry.definition, entry.source, entry.peer)
    # A bar in a formula would end the cell.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
