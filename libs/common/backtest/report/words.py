"""Numbers and names as a person reads them; every text escaped here."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

DASH: Final = "–"
_MINUS: Final = "\N{MINUS SIGN}"


def escaped(text: object) -> str:
    """Return `text` so that a browser shows it as it is."""
    return html.escape(str(text), quote=True)


def figure(value: float | None, unit: str) -> str:
    """Return a metric, `unit` as in the catalogue: shares in per cent, a dash for NaN."""
    if value is None or not math.isfinite(value):
        return DASH
    match unit:
        case "return" | "share":
            text = f"{value:.2%}" if abs(value) < 10 else f"{value:,.0%}"
        case "days":
            text = f"{value:,.0f} d"
        case "money":
            text = f"{value:,.2f}"
        case "count":
            text = f"{value:,.0f}"
        case _:
            text = f"{value:,.2f}"
    return text.replace("-", _MINUS)


def day(ts: int) -> str:
    """Return the UTC day of an ns time."""
    return str(np.datetime64(int(ts), "ns").astype("datetime64[D]"))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[int] = (),
    even: bool = False,
) -> str:
    """Return an HTML table. Cells are escaped; columns in `numeric` are set to the right, all are
    equally wide if `even`."""

    def cell(tag: str, column: int, text: str) -> str:
        marks = [name for name, on in (("n", column in numeric), ("neg", _falls(text))) if on]
        style = f' class="{" ".join(marks)}"' if marks else ""
        return f"<{tag}{style}>{escaped(text)}</{tag}>"

    top = "".join(cell("th", i, text) for i, text in enumerate(head))
    body = "".join(
        "<tr>" + "".join(cell("td", i, text) for i, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    kind = ' class="even"' if even else ""
    return f"<table{kind}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _falls(text: str) -> bool:
    return text.startswith(_MINUS)
