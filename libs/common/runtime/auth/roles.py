"""What each role may do. The one table; tokens carry roles, routes declare permissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

ACCOUNT_AREAS: Final = frozenset({"orders", "portfolio", "risk", "strategies"})
"""Areas whose data belong to one account: the caller must be admitted to it."""

ALL_ACCOUNTS: Final = "*"

_VIEWER: Final = frozenset(
    {
        "auth:self",
        "backtests:read",
        "keys:self",
        "market:read",
        "monitoring:read",
        "orders:read",
        "portfolio:read",
        "risk:read",
        "strategies:read",
    }
)
_TRADER: Final = _VIEWER | {
    "backtests:write",
    "orders:cancel",
    "orders:close",
    "orders:write",
    "risk:halt",
    "strategies:approve",
    "strategies:write",
}
_RISK: Final = _VIEWER | {
    "audit:read",
    "monitoring:write",
    "orders:cancel",
    "orders:close",
    "orders:reconcile",
    "risk:approve",
    "risk:halt",
    "risk:limits",
    "risk:resume",
    "strategies:approve",
}
_ADMIN: Final = (
    _TRADER
    | _RISK
    | {
        "audit:read_sensitive",
        "audit:write",
        "keys:write",
        "market:write",
        "secrets:write",
        "signing:rotate",
        "simulator:control",
        "simulator:read",
        "users:read",
        "users:write",
    }
)

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "viewer": _VIEWER,
    "trader": _TRADER,
    "risk": _RISK,
    "admin": _ADMIN,
}
"""The roles that a user may have."""

NEWCOMER: Final = "newcomer"
"""What tokens carry instead of roles until their user has changed the first password."""
_NEWCOMER: Final = frozenset({"auth:self"})

OPERATOR: Final = "operator"
"""Who holds the key file of an installation: the person at the machine itself."""

SERVICES: Final[Mapping[str, frozenset[str]]] = {
    OPERATOR: _ADMIN,
    "audit": frozenset(),
    "backtester": frozenset({"market:read", "strategies:read", "orders:read", "portfolio:read"}),
    "data_collector": frozenset(),
    "monitoring": frozenset(),
    "portfolio": frozenset(),
    "risk_manager": frozenset(),
    "security": frozenset(),
    "strategy_engine": frozenset({"market:read", "strategies:read", "strategies:write"}),
    "trade_executor": frozenset({"risk:assess", "risk:read"}),
}
"""What a service may ask of another."""


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """Return all that the roles of a user allow together; an unknown role allows nothing."""
    allowed = {**ROLES, NEWCOMER: _NEWCOMER}
    return frozenset().union(*(allowed.get(role, frozenset()) for role in roles))
