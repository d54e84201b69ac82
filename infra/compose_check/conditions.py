"""What must become true of a running stack: each returns a complaint, empty when all is well."""

from __future__ import annotations

import json
import urllib.error

from infra.compose_check.stack import Stack
from infra.routes import PORTS, TITLES

JOBS = frozenset({"secrets", "certificate", "migrate", "gotify_token"})


def unhealthy(stack: Stack) -> str:
    """Return which containers are not as they should be."""
    complaints = []
    for row in stack.containers():
        name, state, health = row["Service"], row["State"], row.get("Health", "")
        if name in JOBS:
            if state != "exited" or row["ExitCode"] != 0:
                complaints.append(f"{name} {state} ({row['ExitCode']})")
        elif state != "running" or health not in ("healthy", ""):
            complaints.append(f"{name} {state} {health}")
    return ", ".join(complaints)


def not_trading(stack: Stack) -> str:
    """Return what is missing of signals, orders, trades and positions at the gateway."""
    missing = [
        path
        for path in (
            "/api/v1/strategies/signals?limit=1",
            "/api/v1/orders?limit=1",
            "/api/v1/orders/trades?limit=1",
            "/api/v1/portfolio/positions",
        )
        if not stack.get(path)["items"]
    ]
    return f"nothing yet at {', '.join(missing)}" if missing else ""


def newest_trade(stack: Stack) -> str:
    """Return the id of the newest trade; raises OSError or ValueError."""
    return str(stack.get("/api/v1/orders/trades?limit=1")["items"][0]["id"])


def no_trade_since(stack: Stack, trade_id: str) -> str:
    """Return a complaint unless there is a newer trade than this one."""
    return f"no trade after {trade_id}" if newest_trade(stack) == trade_id else ""


def targets_down(stack: Stack) -> str:
    """Return which services Prometheus cannot scrape."""
    up = {row["metric"]["job"]: row["value"][1] for row in stack.figures("up")}
    return ", ".join(name for name in PORTS if up.get(name) != "1")


def unrouted(stack: Stack, path: str) -> str:
    """Return a complaint unless the answer below `path` comes from a service of ours."""
    try:
        stack.get(f"{path}/no/such/thing")
    except urllib.error.HTTPError as error:
        detail = str(json.load(error).get("detail"))
        return detail if detail in {text for _, text in TITLES.values()} else ""
    return ""


def differences(stack: Stack) -> str:
    """Return what differs between our books and the broker's."""
    found = stack.get("/api/v1/orders/reconciliation")["discrepancies"]
    return json.dumps(found) if found else ""


def boards_away(stack: Stack) -> str:
    """Return a complaint unless Grafana and Gotify are healthy behind the gateway."""
    health = stack.get("/grafana/api/health")
    if health.get("database") != "ok":
        return f"Grafana says {health}"
    health = stack.get("/gotify/health")
    return "" if health.get("health") == "green" else f"Gotify says {health}"
