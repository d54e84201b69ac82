"""The order in which parts start and stop, and the ports they stand on."""

from __future__ import annotations

import os

from infra.embedded.errors import EmbeddedError
from infra.embedded.ports import claim, free_port, free_ports, is_free
from infra.embedded.settings import Broker, EmbeddedSettings, PortChoice
from infra.routes import PORTS

GATEWAY_PORT = 8443
GATEWAY_HTTP_PORT = 8000
POSTGRES_PORT = 5432
REDIS_PORT = 6379

START_ORDER: tuple[tuple[str, ...], ...] = (
    ("broker_simulator", "audit", "security"),
    ("data_collector", "monitoring"),
    ("portfolio", "risk_manager", "trade_executor"),
    ("strategy_engine", "backtester"),
)
"""Each group is started when the one before it is ready: the broker answers before anyone asks it
for instruments, these are known before anyone judges or reconciles, and books and data stand
before a strategy speaks."""

STOP_ORDER: tuple[str, ...] = (
    "gateway",
    "monitoring",
    "backtester",
    "strategy_engine",
    "risk_manager",
    "trade_executor",
    "data_collector",
    "portfolio",
    "security",
    "audit",
    "broker_simulator",
    "redis",
    "postgres",
)
"""No new orders, then no new signals, then the executor settles what is open and drains its
outbox; who records goes after who acts; the broker and the stores go last."""


def choose_ports(settings: EmbeddedSettings) -> dict[str, int]:
    """Return the port of every part; raises PortTakenError.

    Services and gateway stand where the documentation says, or where TRADEWIND_<NAME>_PORT says.
    PostgreSQL and Redis, which nobody outside needs to find, step aside from a server that is
    already there.
    """
    needed = [name for name in PORTS if _is_needed(name, settings)]
    if settings.ports is PortChoice.AUTO:
        names = ("gateway", "gateway_http", "postgres", "redis", *needed)
        return dict(zip(names, free_ports(len(names)), strict=True))
    ports = {
        "gateway": _wanted("gateway", GATEWAY_PORT),
        "gateway_http": _wanted("gateway_http", GATEWAY_HTTP_PORT),
    }
    ports |= {name: _wanted(name, PORTS[name]) for name in needed}
    for name, port in ports.items():
        claim(port, name, _port_variable(name))
    ports["postgres"] = _aside("postgres", POSTGRES_PORT)
    ports["redis"] = _aside("redis", REDIS_PORT)
    return ports


def _is_needed(service: str, settings: EmbeddedSettings) -> bool:
    return service != "broker_simulator" or settings.broker is Broker.SIMULATOR


def _port_variable(name: str) -> str:
    return f"TRADEWIND_{name.upper()}_PORT"


def _wanted(name: str, default: int) -> int:
    text = os.environ.get(_port_variable(name)) or str(default)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise EmbeddedError(f"{_port_variable(name)}={text} is not a port between 1 and 65535")
    return int(text)


def _aside(name: str, default: int) -> int:
    wanted = _wanted(name, default)
    if os.environ.get(_port_variable(name)):
        return claim(wanted, name, _port_variable(name))
    return wanted if is_free(wanted) else free_port()
