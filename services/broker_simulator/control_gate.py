"""Who may use `/sim/…`: whoever holds the keys of one of the venue's accounts.

The simulator stands for a broker of somebody else's: it knows no users of ours and has no
database of theirs, so its own keys open it, sent as Alpaca's clients send them.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection

from libs.common.runtime.auth.errors import unauthenticated
from libs.common.runtime.openapi import Security
from services.broker_simulator.broker import Broker
from services.broker_simulator.engine.refusals import BrokerRefusal

KEYS: Final = Security(
    {
        "key": {"type": "apiKey", "in": "header", "name": "APCA-API-KEY-ID"},
        "secret": {"type": "apiKey", "in": "header", "name": "APCA-API-SECRET-KEY"},
    },
    (("key", "secret"),),
)


class ControlGate:
    """Implements what `requires` asks of an app's gate."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def admit(self, connection: HTTPConnection, permission: str, *, step_up: bool) -> None:
        """Let a caller with keys pass, whatever the permission. Raises AccessError."""
        del permission, step_up
        try:
            self._broker.authenticate(dict(connection.scope["headers"]))
        except BrokerRefusal as error:
            raise unauthenticated(
                "unknown-key",
                "This needs the keys of an account: APCA-API-KEY-ID and APCA-API-SECRET-KEY "
                f"({error.message}).",
            ) from error
