"""The broker as the stand-alone halt speaks to it: Alpaca's own library, one try a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from requests import codes

from libs.common.kernel.errors import TradewindError, UnavailableError
from services.trade_executor.adapters.alpaca_http import TimeoutAdapter

T = TypeVar("T")

THREADS: Final = 8
_PAGE: Final = 500
_STOPS: Final = frozenset({"stop", "stop_limit", "trailing_stop"})
# 429 and 5xx: ask again. Anything else is the broker's no.
_AGAIN: Final = (408, 429, 500, 502, 503, 504)


class KeysRefusedError(TradewindError):
    """The broker does not take the keys."""


class RefusedError(TradewindError):
    """The broker said no to one request."""


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An open order, as far as a halt must know it."""

    id: str
    symbol: str
    side: str
    kind: str
    order_class: str
    status: str

    def protects(self, held: Mapping[str, Decimal]) -> bool:
        """Tell whether it is an exit of a position that is held: a stop, or a leg of an OCO."""
        quantity = held.get(self.symbol, Decimal(0))
        closes = quantity > 0 if self.side == "sell" else quantity < 0
        return closes and (self.kind in _STOPS or self.order_class in ("oco", "bracket", "oto"))


@dataclass(frozen=True, slots=True)
class Position:
    """A position and what it is worth; `value` None where the broker has no price."""

    symbol: str
    quantity: Decimal
    value: Decimal | None


class DirectBroker:
    """Asks the broker. Raises UnavailableError where no answer can be read, KeysRefusedError, and
    RefusedError for what it will not do."""

    def __init__(self, url: str, key: str, secret: str, *, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._client = TradingClient(key, secret, raw_data=True, url_override=self.url)
        # The library repeats 429 and 504 in silence; we repeat, and say so.
        self._client._retry = 0
        self._client._retry_codes = []
        for scheme in ("http://", "https://"):
            self._client._session.mount(scheme, TimeoutAdapter(timeout_s, THREADS))
        self._client._session.trust_env = False

    def open_orders(self) -> Sequence[OpenOrder]:
        """Return every open order, legs beside their parents."""
        found: dict[str, OpenOrder] = {}
        query: dict[str, Any] = {
            "status": "open", "limit": _PAGE, "direction": "asc", "nested": "false"
        }  # fmt: skip
        while True:
            rows = self._ask(lambda: self._client.get("/orders", query))
            page = _read(rows, _order)
            fresh = [order for order in page if order.id not in found]
            found.update((order.id, order) for order in fresh)
            if len(page) < _PAGE or not fresh:
                return list(found.values())
            query["after"] = rows[-1].get("submitted_at")

    def positions(self) -> Sequence[Position]:
        """Return every open position."""
        return _read(self._ask(self._client.get_all_positions), _position)

    def cancel_all(self) -> Sequence[str]:
        """Ask for the cancel of everything, in one call; return the ids of what was open."""
        rows = self._ask(self._client.cancel_orders)
        return _read(rows or [], lambda row: str(row["id"]))

    def cancel(self, order_id: str) -> None:
        """Ask for the cancel of one order."""
        self._ask(lambda: self._client.cancel_order_by_id(order_id), one=True)

    def close(self, symbol: str) -> None:
        """Ask for a market order that closes a position."""
        self._ask(lambda: self._client.close_position(symbol), one=True)

    def _ask(self, call: Callable[[], Any], *, one: bool = False) -> Any:
        """Call; `one` order's or position's 403 is about that one, any other about the keys."""
        try:
            return call()
        except APIError as error:
            # The body may be no JSON at all; `str` of the error is the body as it came.
            status, text = error.status_code, str(error)[:200]
            if status == codes.unauthorized or (status == codes.forbidden and not one):
                raise KeysRefusedError(f"{self.url} does not take the keys ({status})") from error
            if status in _AGAIN or status is None:
                raise UnavailableError(f"{self.url} answers {status}: {text}") from error
            raise RefusedError(f"{status}: {text}") from error
        except (requests.RequestException, ValueError) as error:
            raise UnavailableError(f"{self.url} does not answer: {error}") from error


def _read(rows: Any, one: Callable[[Mapping[str, Any]], T]) -> list[T]:
    try:
        return [one(row) for row in rows]
    except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise UnavailableError(f"the broker's answer cannot be read: {error!r}") from error


def _order(row: Mapping[str, Any]) -> OpenOrder:
    return OpenOrder(
        id=str(row["id"]),
        symbol=str(row["symbol"]),
        side=str(row["side"]),
        kind=str(row.get("type") or row.get("order_type") or ""),
        order_class=str(row.get("order_class") or ""),
        status=str(row["status"]),
    )


def _position(row: Mapping[str, Any]) -> Position:
    value = row.get("market_value")
    return Position(
        symbol=str(row["symbol"]),
        quantity=Decimal(str(row["qty"])),
        value=None if value is None else Decimal(str(value)),
    )
