"""One HTML file that needs nothing else: plotly.js inside, no network, no script but ours."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from libs.common.backtest.report.words import escaped

_HERE = Path(__file__).parent
_HEAD_BYTES = 2048
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"\r\n]*)">')


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its title and a line that says how to read it; `wide` spans both columns."""

    name: str
    title: str
    figure: dict[str, Any]
    note: str = ""
    wide: bool = False


@functools.cache
def plotly_script() -> str:
    """Return plotly.js from the installed package, without importing that."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("plotly is not installed")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    # A closing tag inside the text would end the element that carries it.
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


@functools.cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def as_data(value: object) -> str:
    """Return JSON that can stand inside a script element, whatever text is in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@dataclass(frozen=True, slots=True)
class Card:
    """Ready HTML under a title, and about how high it is, in pixels."""

    html: str
    height: int


def plotted(plot: Plot) -> Card:
    """Return the place of a plot."""
    body = f'<div class="plot" id="plot-{escaped(plot.name)}"></div>'
    height = int(plot.figure["layout"].get("height", 300))
    return card(plot.title, body, height, note=plot.note, wide=plot.wide)


def card(title: str, body: str, height: int, *, note: str = "", wide: bool = False) -> Card:
    """Return ready HTML under an escaped title and note; `height` of the body alone."""
    told = f'<p class="note">{escaped(note)}</p>' if note else ""
    kind = "card wide" if wide else "card"
    html = f'<section class="{kind}"><h2>{escaped(title)}</h2>{told}{body}</section>'
    return Card(html, height + (80 if note else 60))


def columns(cards: Sequence[Card]) -> str:
    """Return the cards in two columns, each put where there is more room."""
    heights, sides = [0, 0], ["", ""]
    for one in cards:
        shorter = 0 if heights[0] <= heights[1] else 1
        heights[shorter] += one.height
        sides[shorter] += one.html
    return "".join(f'<div class="column">{side}</div>' for side in sides)


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@functools.cache
def _policy() -> str:
    """Return the content security policy: our two scripts by hash, no address at all."""
    scripts = " ".join(_hash(script) for script in (plotly_script(), _asset("page.js")))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def policy_of(path: Path) -> str:
    """Return what a server says of a page that was written here, beside what the page says itself.

    The page's own policy, which names its two scripts by their hashes, and a sandbox: a report runs
    in an origin of its own, out of reach of what a browser keeps for the server. A file without
    a policy may run nothing.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    found = _POLICY.search(head)
    told = unescape(found[1]) if found else "default-src 'none'; style-src 'unsafe-inline'"
    return f"{told}; frame-ancestors 'none'; sandbox allow-scripts"


def page(title: str, header: str, body: str, plots: Mapping[str, dict[str, Any]]) -> str:
    """Return the whole file. `header` and `body` are ready HTML, `plots` figures by place."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<header>{header}<button id="theme" type="button" title="dark or light">◐</button></header>
<main>{body}</main>
<script type="application/json" id="figures">{as_data(dict(plots))}</script>
<script>{plotly_script()}</script>
<script>{_asset("page.js")}</script>
</body>
</html>
"""
