"""An order's dossier as a page of its own: to be read, kept and printed without anything else.

No script, no picture, nothing is loaded; every value is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

Row = Mapping[str, Any]

STYLE: Final = """
body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#1a1a1a}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem;border-bottom:1px solid #bbb}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;
padding:.2rem .6rem .2rem 0;border-bottom:1px solid #e5e5e5;overflow-wrap:anywhere}
th{color:#555;font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font-size:.8rem}
footer{margin-top:2rem;color:#555;font-size:.8rem}
@media print{body{margin:0;max-width:none;font-size:10px}h2,tr{break-inside:avoid}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may do with the page: show it, in this style."""

CHAPTERS: Final = (
    ("order", "Order"),
    ("tick", "The last tick before the decision"),
    ("bar", "The bar it was decided on"),
    ("signal", "Signal"),
    ("judgement", "Judgement"),
    ("events", "Events"),
    ("wire", "Wire"),
    ("executions", "Executions"),
    ("ledger", "Ledger"),
    ("milestones", "Milestones"),
    ("latency", "Latency"),
    ("cost", "Cost against arrival (positive is a cost)"),
)


def dossier_page(dossier: Row) -> str:
    """Return the page of a dossier as `GET /orders/{id}/dossier` answers it, decoded."""
    order = dossier["order"]
    title = f"Order {order.get('id', '')}"
    summary = " ".join(
        str(order[name])
        for name in ("side", "quantity", "symbol", "order_type", "status")
        if order.get(name) is not None
    )
    body = "".join(_chapters(dossier))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><p>{escape(summary)}</p>{body}"
        "<footer>From the books; times are UTC.</footer></body></html>\n"
    )


def _chapters(dossier: Row) -> Iterator[str]:
    for name, title in CHAPTERS:
        content = dossier.get(name)
        if not content:
            continue
        yield f"<h2>{escape(title)}</h2>"
        if isinstance(content, Mapping):
            plain = {key: value for key, value in content.items() if not _is_list(value)}
            yield _pairs(plain)
            for key, value in content.items():
                if _is_list(value):
                    yield f"<h2>{escape(title)}: {escape(str(key))}</h2>{_rows(value)}"
        else:
            yield _rows(content)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _pairs(row: Row) -> str:
    lines = (
        f"<tr><th>{escape(str(name))}</th>{_cell(value)}</tr>"
        for name, value in row.items()
        if value is not None
    )
    return f"<table>{''.join(lines)}</table>"


def _rows(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    shown = [name for name in names if any(row.get(name) is not None for row in rows)]
    head = "".join(f"<th>{escape(str(name))}</th>" for name in shown)
    lines = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in shown)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}</td>"
    if isinstance(value, int | float):
        return f'<td class="n">{value}</td>'
    text = str(value)
    if isinstance(value, dict | list) or text[:1] in ("{", "["):
        return f"<td><pre>{escape(text)}</pre></td>"
    return f"<td>{escape(text)}</td>"
