"""The administrator and a trader of a stack, from the first password to an order on record."""

from __future__ import annotations

import datetime as dt
import secrets
import urllib.error
from typing import Any, Final
from urllib.parse import urlencode

from infra.compose_check.stack import CheckError, Stack

AUTH: Final = "/api/v1/auth"
ORDERS: Final = "/api/v1/orders"
TOLERANCE: Final = dt.timedelta(seconds=1)
ADMIN: Final = "admin"
TRADER: Final = "anna"
ORDER: Final = {
    "symbol": "KO",
    "side": "buy",
    "order_type": "limit",
    "time_in_force": "gtc",
    "quantity": "1",
    "limit_price": "1.00",
}
"""Far below the market: it waits, and so can be found again after everything has been down."""


class People:
    """Who works with the stack, and what of them must be there after whatever happens."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._password = {name: secrets.token_urlsafe(16) for name in (ADMIN, TRADER)}
        self._order_id = ""
        self._key = self._key_id = ""
        self._asked_at = dt.datetime.now(dt.UTC)

    def arrive(self) -> None:
        """Log in for the first time, make a trader, let it trade and have a key.

        Raises CheckError for what is refused.
        """
        try:
            self._arrive()
        except urllib.error.HTTPError as error:
            raise CheckError(f"{error.url}: {error.code} {error.read().decode()}") from error
        print("ok   first login, a trader, an order, an API key", flush=True)

    def _arrive(self) -> None:
        first = self._stack.compose("exec", "-T", "security", "cat", "/run/secrets/first_password")
        admin = self._own(ADMIN, first.strip())
        wish = {"name": TRADER, "roles": ["trader"], "accounts": ["main"]}
        made = self._stack.ask("/api/v1/users", wish, admin)
        trader = self._own(TRADER, made["password"])
        headers = {**trader, "Idempotency-Key": secrets.token_hex(16)}
        self._order_id = str(self._stack.ask(ORDERS, ORDER, headers)["id"])
        made = self._make_key(trader)
        self._key, self._key_id = str(made["key"]), str(made["id"])

    def _own(self, name: str, given: str) -> dict[str, str]:
        """Log in with a given password, replace it, and log in with one's own."""
        may_change = self._login(name, given)
        own = self._password[name]
        body = {"current_password": given, "new_password": own}
        self._stack.ask(f"{AUTH}/password", body, may_change)
        return self._login(name, own)

    def _login(self, name: str, password: str) -> dict[str, str]:
        grant = self._stack.ask(f"{AUTH}/login", {"name": name, "password": password})
        return {"Authorization": f"Bearer {grant['access_token']}"}

    def _make_key(self, headers: dict[str, str]) -> dict[str, Any]:
        in_a_day = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
        wish = {
            "name": "reader",
            "permissions": ["orders:read"],
            "expires_at": in_a_day.isoformat(),
        }
        made: dict[str, Any] = self._stack.ask("/api/v1/keys", wish, headers)
        return made

    def unrecorded(self) -> str:
        """Return a complaint unless the key's last use is on record, and from where it came."""
        asked = urlencode(
            {
                "actor": f"key:{self._key_id} of {TRADER}",
                "action": "GET",
                "resource": f"{ORDERS}/{{order_id}}",
                "since": self._asked_at.isoformat(),
            }
        )
        seen = self._stack.get(f"/api/v1/audit/events/sensitive?{asked}")["items"]
        if not seen:
            return f"nothing of {TRADER} since {self._asked_at} is on record"
        addresses = {row["details"].get("ip") for row in seen} & self._own_addresses()
        return f"said to come from the gateway itself, {addresses}" if addresses else ""

    def _own_addresses(self) -> set[str]:
        networks = self._stack.inspected()["gateway"]["NetworkSettings"]["Networks"]
        return {facts["IPAddress"] for facts in networks.values()}

    def forgotten(self) -> str:
        """Return what is not there any more: the trader's password, its key, its order."""
        self._login(TRADER, self._password[TRADER])
        headers = {"Authorization": f"Bearer {self._key}"}
        self._asked_at = dt.datetime.now(dt.UTC) - TOLERANCE
        order = self._stack.ask(f"{ORDERS}/{self._order_id}", None, headers)
        return "" if order["symbol"] == ORDER["symbol"] else f"the order is {order}"
