"""What the order commands share: the words of an order as options, and how answers are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from cli import tables

PATH: Final = "/api/v1/orders"
DEAD: Final = frozenset({"denied", "rejected"})
console = Console(highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Amount = Annotated[str | None, typer.Option(help="A decimal number, e.g. 10.25.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key: the same key is the same request.")]


class TimeInForce(StrEnum):
    """How long an order stands."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


def order_body(
    symbol: str,
    side: str,
    quantity: str | None,
    *,
    time_in_force: TimeInForce,
    notional: str | None = None,
    limit: str | None = None,
    stop: str | None = None,
    trail: str | None = None,
    trail_percent: str | None = None,
    take_profit: str | None = None,
    stop_loss: str | None = None,
    stop_loss_limit: str | None = None,
    oco: bool = False,
    extended_hours: bool = False,
) -> dict[str, Any]:
    """Return the order that the options ask for: its type and class follow from what is given.
    Raises BadParameter where they contradict each other."""
    if (quantity is None) == (notional is None):
        raise typer.BadParameter("give either a quantity or --notional")
    if oco and (take_profit is None or stop_loss is None):
        raise typer.BadParameter("--oco needs --take-profit and --stop-loss")
    if stop_loss_limit is not None and stop_loss is None:
        raise typer.BadParameter("--stop-loss-limit needs --stop-loss")
    if oco and limit is None:
        limit = take_profit
    kinds = {(False, False): "market", (True, False): "limit", (False, True): "stop"}
    kind = kinds.get((limit is not None, stop is not None), "stop_limit")
    exits = (take_profit is not None) + (stop_loss is not None)
    body = {
        "symbol": symbol.upper(),
        "side": side,
        "order_type": "trailing_stop" if trail or trail_percent else kind,
        "time_in_force": time_in_force.value,
        "quantity": quantity,
        "notional": notional,
        "limit_price": limit,
        "stop_price": stop,
        "trail_price": trail,
        "trail_percent": trail_percent,
        "extended_hours": extended_hours or None,
        "order_class": "oco" if oco else (None, "oto", "bracket")[exits],
        "take_profit": None if take_profit is None else {"limit_price": take_profit},
        "stop_loss": None
        if stop_loss is None
        else _given({"stop_price": stop_loss, "limit_price": stop_loss_limit}),
    }
    return _given(body)


def print_orders(rows: Sequence[Any], *, as_json: Any = None) -> None:
    """Print orders as a table, or `as_json` where it is given."""
    if as_json is not None:
        print_json(as_json)
    else:
        tables.show(console, tables.orders(rows))


def print_json(value: Any) -> None:
    """Print an answer as it came."""
    typer.echo(json.dumps(value, indent=2))


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
