"""Where the stand-alone halt finds broker, keys and database, with everything down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home, read_json
from infra.embedded.plan import ALPACA_URLS, DATABASE
from infra.embedded.ports import LOOPBACK
from infra.embedded.settings import Broker, alpaca_keys
from infra.halt.switch import ACCOUNT

COMPOSE_MARK: Final = Path(__file__).parent / "mark" / "halted.json"
_BROKER: Final = ("TRADEWIND_BROKER_URL", "TRADEWIND_BROKER_KEY", "TRADEWIND_BROKER_SECRET")


@dataclass(frozen=True, slots=True)
class Place:
    """The broker and its keys; the books' home and database where they are known."""

    broker_url: str
    key: str
    secret: str
    home: Home | None
    database_url: str | None
    account_id: str
    # Where the risk manager looks for a mark: with Compose a directory of the clone.
    mark: Path | None = None


def find(home: Home, broker: str | None) -> Place:
    """Return where to halt. Raises EmbeddedError naming what is missing.

    First what the environment says in full (`TRADEWIND_BROKER_URL`, `_KEY`, `_SECRET`); then
    Alpaca, where the user or the last run chose it; then the simulator of the last run in `home`,
    whose supervisor may have been killed: what it wrote about itself is still there.
    """
    last = read_json(home.state_file)
    account = os.environ.get("TRADEWIND_ACCOUNT_ID") or ACCOUNT
    database = os.environ.get("TRADEWIND_DATABASE_URL") or None
    given = [os.environ.get(name, "") for name in _BROKER]
    books = _text(last, "books")
    if all(given):
        named = Home(home.root, books) if books else None
        url, key, secret = given
        mark = Path(os.environ.get("TRADEWIND_HALT_MARK") or COMPOSE_MARK)
        return Place(url, key, secret, named, database or _database(home, last), account, mark)
    if any(given):
        missing = [name for name, value in zip(_BROKER, given, strict=True) if not value]
        raise EmbeddedError(
            f"{' and '.join(missing)} is not set, and the rest of the broker's variables is",
            "set all three, or none to use the last run of this home",
        )
    chosen = (
        broker or os.environ.get("TRADEWIND_BROKER") or os.environ.get("BROKER")
        or _text(last, "broker")
    )  # fmt: skip
    if chosen == Broker.ALPACA:
        named = Home(home.root, Broker.ALPACA.value)
        known = _database(home, last) if books in (None, named.books) else None
        return Place(
            ALPACA_URLS["TRADEWIND_BROKER_URL"], *alpaca_keys(), named, database or known, account
        )
    port = _port(last, "broker_simulator")
    if books is None or port is None:
        raise EmbeddedError(
            f"{home.root} does not say where the broker is: no run left its addresses there",
            "for Alpaca: --broker alpaca with the keys in the environment; else set "
            f"{', '.join(_BROKER)}",
        )
    secrets = _secrets(home)
    missing = [name for name in ("broker_key", "broker_secret") if name not in secrets]
    if missing:
        raise EmbeddedError(
            f"{home.credentials / 'secrets.json'} holds no {' and no '.join(missing)}",
            f"set {', '.join(_BROKER)}",
        )
    return Place(
        f"http://{LOOPBACK}:{port}",
        secrets["broker_key"],
        secrets["broker_secret"],
        Home(home.root, books),
        database or _database(home, last),
        account,
    )


def _database(home: Home, last: Mapping[str, object]) -> str | None:
    """Return the address of the last run's database, in the risk manager's name: the row of the
    kill switch is its."""
    port = _port(last, "postgres")
    password = _secrets(home).get("database_risk_manager")
    if port is None or password is None:
        return None
    return f"postgresql://risk_manager:{password}@{LOOPBACK}:{port}/{DATABASE}"


def _secrets(home: Home) -> dict[str, str]:
    # Read, never made: a halt must not leave new secrets behind.
    values = read_json(home.credentials / "secrets.json")
    return {name: str(value) for name, value in values.items()}


def _port(last: Mapping[str, object], name: str) -> int | None:
    ports = last.get("ports")
    port = ports.get(name) if isinstance(ports, dict) else None
    return port if isinstance(port, int) else None


def _text(last: Mapping[str, object], name: str) -> str | None:
    value = last.get(name)
    return value if isinstance(value, str) else None
