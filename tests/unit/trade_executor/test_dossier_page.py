"""The dossier as a page: whole, escaped, and free of anything that runs or is loaded."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from services.trade_executor.dossier_page import CHAPTERS, POLICY, STYLE, dossier_page

EVIL = "<script>alert(1)</script>\"'&"
DOSSIER: dict[str, Any] = {
    "order": {"id": "o-1", "side": "buy", "symbol": "KO", "quantity": "5", "note": EVIL},
    "tick": None,
    "judgement": {"verdict": "approved", "checks": [{"code": "A", "passed": True, "value": None}]},
    "events": [{"event": "submitted", "ts": "2026-11-20T12:00:00Z"}, {"event": EVIL}],
    "wire": [{"sent": '{"symbol":"KO"}', "took_us": 1500}],
    "latency": [{"start": "signal", "end": "judged", "ms": 1.5}],
    "cost": {"total": "0.10", "slippage": None},
}


class Tags(HTMLParser):
    """Collects what a browser would build."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_chapter_that_has_something_to_tell_is_there() -> None:
    page = dossier_page(DOSSIER)
    shown = [title for name, title in CHAPTERS if DOSSIER.get(name)]
    assert re.findall(r"<h2>([^<:]+)</h2>", page) == shown
    assert "Judgement: checks" in page
    assert "1500" in page


def test_nothing_in_it_runs_or_is_loaded() -> None:
    tags = Tags()
    tags.feed(dossier_page(DOSSIER))
    assert tags.seen <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th",
        "td", "pre", "footer",
    }  # fmt: skip
    assert tags.attributes <= {"lang", "charset", "class"}
    assert EVIL in tags.text
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert POLICY.startswith("default-src 'none'")
