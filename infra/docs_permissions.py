"""The page of permissions: each route, what it demands, and who may call it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Final, get_type_hints

from fastapi import FastAPI

from libs.common.runtime.auth.roles import ACCOUNT_AREAS, OPERATOR, ROLES, SERVICES
from libs.common.runtime.permissions import PUBLIC, permission_of, routes_of, steps_up
from libs.common.runtime.secrets import new_key

NAMES: Final = (
    "trade_executor", "risk_manager", "strategy_engine", "portfolio", "data_collector",
    "backtester", "monitoring", "audit", "security",
)  # fmt: skip


def permissions_page() -> str:
    """Return the tables of roles and routes as Markdown."""
    apps = {name: _app(name) for name in NAMES}
    return "\n\n".join((_roles(apps), *(_routes(name, app) for name, app in apps.items())))


def _app(name: str) -> FastAPI:
    build = importlib.import_module(f"services.{name}.main").build
    settings = next(iter(get_type_hints(build).values()))
    app: FastAPI = build(
        settings(broker_key="key", broker_secret="secret", encryption_keys=new_key())
    )
    return app


def _roles(apps: dict[str, FastAPI]) -> str:
    declared = {permission_of(route) for app in apps.values() for route in routes_of(app)}
    names = sorted(name for name in declared if name not in (None, PUBLIC))
    lines = ["## Permissions", "", f"| permission | {' | '.join(ROLES)} | services |"]
    lines.append("|---" * (len(ROLES) + 2) + "|")
    for name in names:
        marks = ["✓" if name in allowed else "" for allowed in ROLES.values()]
        services = ", ".join(s for s, may in SERVICES.items() if name in may and s != OPERATOR)
        lines.append(f"| `{name}` | {' | '.join(marks)} | {services} |")
    areas = ", ".join(f"`{area}`" for area in sorted(ACCOUNT_AREAS))
    lines += ["", f"{areas} belong to an account: the caller must be admitted to it as well."]
    return "\n".join(lines)


def _routes(name: str, app: FastAPI) -> str:
    lines = [f"## {name}", "", "| route | permission | step-up |", "|---|---|---|"]
    return "\n".join([*lines, *_rows(app)])


def _rows(app: FastAPI) -> Iterator[str]:
    for route in routes_of(app):
        permission = permission_of(route)
        shown = "everybody" if permission == PUBLIC else f"`{permission}`"
        proof = "yes" if steps_up(route) else ""
        for method in sorted(route.methods or ()):
            yield f"| `{method} {route.path}` | {shown} | {proof} |"
