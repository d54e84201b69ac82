"""Which processes a run consists of: their order, ports, commands and environments."""

from __future__ import annotations

import json
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.embedded.child import Child
from infra.embedded.credentials import Credentials
from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home
from infra.embedded.layout import START_ORDER, choose_ports
from infra.embedded.ports import LOOPBACK
from infra.embedded.settings import (
    ALPACA_KEY_NAMES,
    ALPACA_SECRET_NAMES,
    Broker,
    BrokerKeys,
    EmbeddedSettings,
    alpaca_keys,
)
from infra.routes import PORTS, ROOT
from libs.common.runtime.auth.roles import SERVICES

DATABASE = "tradewind"
STRATEGY_DIRS = "TRADEWIND_STRATEGY_DIRS"
HEALTH_TIMEOUT_S = 2.0
ASSETS_TIMEOUT_S = 10.0
RUNS_STRATEGIES = frozenset({"strategy_engine", "backtester"})
HEARS_THE_BROKER = frozenset({"data_collector", "trade_executor", "broker_simulator"})
ENCRYPTS = frozenset({"audit", "data_collector", "security", "trade_executor"})
"""Who keeps fields that are encrypted at rest, or reads such."""
ENCRYPTION_KEYS = "TRADEWIND_ENCRYPTION_KEYS"
FIRST_PASSWORD = "TRADEWIND_FIRST_PASSWORD"

NICENESS: Mapping[str, int] = {"portfolio": 5, "audit": 5, "monitoring": 5, "backtester": 10}
"""No order waits for these; when bars close, the services that one waits for go first."""

ALPACA_URLS: Mapping[str, str] = {
    "TRADEWIND_BROKER_URL": "https://paper-api.alpaca.markets",
    "TRADEWIND_BROKER_STREAM_URL": "wss://paper-api.alpaca.markets/stream",
    "TRADEWIND_DATA_URL": "https://data.alpaca.markets",
    "TRADEWIND_DATA_STREAM_URL": "wss://stream.data.alpaca.markets/v2/iex",
    "TRADEWIND_CLOCK_URL": "",
}
UNCOUNTED: Mapping[str, str] = {
    "TRADEWIND_BROKER_CALLS_PER_MINUTE": "60000",
    "TRADEWIND_HISTORY_REQUESTS_PER_MINUTE": "6000",
}
"""The simulator does not ration calls as Alpaca does."""
PRIVATE_NAMES = frozenset(
    {
        *ALPACA_KEY_NAMES,
        *ALPACA_SECRET_NAMES,
        "TRADEWIND_BROKER_KEY",
        "TRADEWIND_BROKER_SECRET",
        "TRADEWIND_AUDIT_KEY",
        "TRADEWIND_DATABASE_URL",
        ENCRYPTION_KEYS,
        f"{ENCRYPTION_KEYS}_FILE",
        FIRST_PASSWORD,
        f"{FIRST_PASSWORD}_FILE",
    }
)
_TRUST_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For what is asked without TLS. To read the public authorities for each question would take 20 ms
of a processor, for a dozen services every few seconds, while orders want it."""

ONE_THREAD: Mapping[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""A dozen processes share the machine; thread pools in each would only cost memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its settings, ports and secrets."""

    settings: EmbeddedSettings
    home: Home
    ports: Mapping[str, int]
    broker_key: str
    broker_secret: str
    redis_password: str
    encryption_keys: Mapping[str, str]
    audit_key: str
    database_passwords: Mapping[str, str]
    service_keys: Mapping[str, str]

    @property
    def services(self) -> tuple[str, ...]:
        """Return the services of this run in start order."""
        return tuple(name for group in self.groups for name in group)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Return the start order; a real broker needs no simulator."""
        skipped = "broker_simulator" if self.settings.broker is Broker.ALPACA else ""
        groups = (tuple(name for name in group if name != skipped) for group in START_ORDER)
        return tuple(group for group in groups if group)

    def url(self, service: str) -> str:
        """Return where a part answers: the gateway by HTTPS, the services behind it by HTTP."""
        scheme = "https" if service == "gateway" else "http"
        return f"{scheme}://{LOOPBACK}:{self.ports[service]}"

    def child(self, service: str) -> Child:
        """Return the process of a service; it is up when its /health answers."""

        async def ready() -> str | None:
            return await http_not_ok(f"{self.url(service)}/health")

        return Child(
            name=service,
            command=(sys.executable, "-m", f"services.{service}.main"),
            env=self.environment(service),
            cwd=ROOT,
            ready=ready,
            ready_timeout_s=self.settings.ready_timeout_s,
            stop_timeout_s=20.0,
            niceness=NICENESS.get(service, 0),
            watched=True,
        )

    def environment(self, service: str) -> dict[str, str]:
        """Return all that a service is told: what the user set, and over it what we decide.

        A service sees the broker's keys only if it talks to the broker, and no password of a
        role but its own.
        """
        given = {
            name: value
            for name, value in os.environ.items()
            if name not in PRIVATE_NAMES and not name.startswith("PYTHON")
        }
        ours = {
            "PYTHONUNBUFFERED": "1",
            "TRADEWIND_HOST": LOOPBACK,
            "TRADEWIND_TRUSTED_GATEWAY": LOOPBACK,
            "TRADEWIND_PORT": str(self.ports[service]),
            "TRADEWIND_DATABASE_URL": self._database_url(service),
            "TRADEWIND_SERVICE_KEY": self.service_keys.get(service, ""),
            "TRADEWIND_REDIS_URL": self._redis_url(service),
            "TRADEWIND_RISK_URL": f"http://{LOOPBACK}:{self._port(service, 'risk_manager')}",
            **self._broker(service),
        }
        if self.settings.symbols:
            ours["TRADEWIND_SYMBOLS"] = ",".join(self.settings.symbols)
        if service == "trade_executor" and self.settings.broker_via:
            ours["TRADEWIND_BROKER_URL"] = self.settings.broker_via
        if service in HEARS_THE_BROKER and self.broker_key:
            ours["TRADEWIND_BROKER_KEY"] = self.broker_key
            ours["TRADEWIND_BROKER_SECRET"] = self.broker_secret
        if service in ENCRYPTS:
            ours.update(self.encryption_keys)
        if service == "security":
            ours.update(given_as(FIRST_PASSWORD))
            ours["TRADEWIND_FIRST_PASSWORD_OUT"] = str(self.home.admin_password)
        if service == "audit":
            ours["TRADEWIND_AUDIT_KEY"] = self.audit_key
            ours["TRADEWIND_AUDIT_ANCHORS"] = str(self.home.anchors)
        if service == "backtester":
            ours["TRADEWIND_BACKTESTS_FOLDER"] = str(self.home.root / "backtests" / "service")
        if service == "broker_simulator":
            ours.update(self._market())
        if service in RUNS_STRATEGIES and not given.get(STRATEGY_DIRS):
            ours[STRATEGY_DIRS] = json.dumps([str(folder) for folder in self.strategy_dirs])
        return {**ONE_THREAD, **given, **ours}

    @property
    def strategy_dirs(self) -> tuple[Path, ...]:
        """Return the folders of strategy files: ours, and the user's in the home."""
        return ROOT / "strategies", self.home.strategies

    def _database_url(self, service: str) -> str:
        password = self.database_passwords.get(service, "")
        port = self._port(service, "postgres")
        return f"postgresql://{service}:{password}@{LOOPBACK}:{port}/{DATABASE}"

    def _redis_url(self, service: str) -> str:
        own = f"redis://:{self.redis_password}@{LOOPBACK}:{self._port(service, 'redis')}/0"
        return self.settings.redis_url or own

    def _port(self, service: str, server: str) -> int:
        """Return the port through which `service` reaches `server`: its own, or a detour's."""
        return self.settings.via.get((service, server), self.ports[server])

    def _broker(self, service: str) -> Mapping[str, str]:
        if self.settings.broker is Broker.ALPACA:
            return ALPACA_URLS
        port = self._port(service, "broker_simulator")
        http, socket = f"http://{LOOPBACK}:{port}", f"ws://{LOOPBACK}:{port}"
        return {
            "TRADEWIND_BROKER_URL": http,
            "TRADEWIND_BROKER_STREAM_URL": f"{socket}/stream",
            "TRADEWIND_DATA_URL": http,
            "TRADEWIND_DATA_STREAM_URL": f"{socket}/v2/iex",
            "TRADEWIND_CLOCK_URL": http,
            **UNCOUNTED,
        }

    def _market(self) -> Mapping[str, str]:
        market = {
            "TRADEWIND_SIMULATOR_MARKET": self.settings.feed.value,
            "TRADEWIND_SIMULATOR_STATE": str(self.home.data / "simulator.sqlite"),
        }
        if self.settings.symbols:
            market["TRADEWIND_SIMULATOR_SYMBOLS"] = ",".join(self.settings.symbols)
        if self.settings.file:
            market["TRADEWIND_SIMULATOR_FILE"] = ",".join(map(str, self.settings.file))
        if self.settings.factor is not None:
            market["TRADEWIND_SIMULATOR_FACTOR"] = repr(self.settings.factor)
        return market


def make(settings: EmbeddedSettings, home: Home, credentials: Credentials) -> Plan:
    """Return the plan of a run; raises EmbeddedError for a taken port or a missing key."""
    key = secret = ""
    if settings.broker is Broker.ALPACA and settings.broker_keys is BrokerKeys.GIVEN:
        key, secret = alpaca_keys()
    elif settings.broker is Broker.SIMULATOR:
        key, secret = credentials.secret("broker_key"), credentials.secret("broker_secret")
    ports = choose_ports(settings)
    return Plan(
        settings=settings,
        home=home,
        ports=ports,
        broker_key=key,
        broker_secret=secret,
        redis_password=credentials.secret("redis"),
        encryption_keys=encryption_keys(credentials),
        service_keys={name: credentials.seed(f"service_key_{name}") for name in SERVICES},
        audit_key=credentials.key("audit_key"),
        database_passwords={name: credentials.secret(f"database_{name}") for name in PORTS},
    )


def encryption_keys(credentials: Credentials) -> dict[str, str]:
    """Return the variable of the fields' keys: as the user set it, else with our own key."""
    return given_as(ENCRYPTION_KEYS) or {ENCRYPTION_KEYS: credentials.key("encryption_keys")}


def given_as(variable: str) -> dict[str, str]:
    """Return a secret as the user set it: the variable, or the one that names a file."""
    names = (variable, f"{variable}_FILE")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


async def http_not_ok(url: str, verify: ssl.SSLContext = _TRUST_NOBODY) -> str | None:
    """Return None when `url` answers 200, else what it says or why it does not."""
    try:
        async with httpx.AsyncClient(
            timeout=HEALTH_TIMEOUT_S, trust_env=False, verify=verify
        ) as client:
            response = await client.get(url)
    except httpx.HTTPError as error:
        return f"{url}: {type(error).__name__} {error}".strip()
    if response.status_code == 200:
        return None
    return reasons_of(response) or f"{url} answers {response.status_code}"


def reasons_of(response: httpx.Response) -> str:
    """Return the reasons that a service gives for not being ready, empty if it gives none."""
    try:
        body = response.json()
    except ValueError:
        return ""
    reasons = body.get("reasons") if isinstance(body, dict) else None
    if not isinstance(reasons, dict):
        return ""
    return "; ".join(f"{part}: {reason}" for part, reason in reasons.items())


async def broker_symbols(url: str, key: str, secret: str) -> tuple[str, ...]:
    """Return what can be traded at the broker; raises EmbeddedError if it doesn't say."""
    headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
    try:
        async with httpx.AsyncClient(timeout=ASSETS_TIMEOUT_S, trust_env=False) as client:
            response = await client.get(f"{url}/v2/assets", headers=headers)
        response.raise_for_status()
        found = tuple(sorted(str(asset["symbol"]) for asset in response.json()))
    except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
        raise EmbeddedError(f"{url}/v2/assets did not list the symbols: {error}") from error
    if not found:
        raise EmbeddedError(f"{url}/v2/assets lists no symbol", "is there one in the FILE?")
    return found
