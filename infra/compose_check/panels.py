"""Every query of every panel of the dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator

from infra.compose_check.stack import Stack
from infra.routes import ROOT

DASHBOARDS = ROOT / "grafana" / "dashboards"


def expressions() -> Iterator[tuple[str, str]]:
    """Return every panel's queries as (dashboard and panel, expression)."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "1m")
                yield f"{dashboard['title']} / {panel['title']}", expression


def empty_panels(stack: Stack, waiting: list[tuple[str, str]]) -> str:
    """Return which queries of `waiting` give no data; what has given some is taken out."""
    for query in tuple(waiting):
        if stack.figures(query[1]):
            waiting.remove(query)
    return "; ".join(f"{name}: no data for {expression}" for name, expression in waiting)
