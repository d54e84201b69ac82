"""The broker's refusals as Alpaca words them: a status, a numeric code and a message."""

from __future__ import annotations

from typing import NoReturn


class BrokerRefusal(Exception):
    """A request that the broker refuses; becomes `{"code", "message", …}` on the wire."""

    def __init__(self, status: int, code: int, message: str, **extra: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra

    def body(self) -> dict[str, object]:
        """Return the JSON body that Alpaca sends for it."""
        return {"code": self.code, "message": self.message, **self.extra}


def unprocessable(message: str, code: int = 42210000) -> NoReturn:
    """Refuse an order or parameter that breaks a rule (422)."""
    raise BrokerRefusal(422, code, message)


def malformed(message: str) -> NoReturn:
    """Refuse a body or query that cannot be read (400)."""
    raise BrokerRefusal(400, 40010000, message)


def forbidden(message: str, **extra: str) -> NoReturn:
    """Refuse what the account may not do (403)."""
    raise BrokerRefusal(403, 40310000, message, **extra)


def not_found(what: str) -> NoReturn:
    """Refuse a name that stands for nothing (404)."""
    raise BrokerRefusal(404, 40410000, f"{what} not found")
