"""`tradewind position …`: close one position, or all."""

from __future__ import annotations

import json
import time
import uuid
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.client import Gateway
from cli.errors import CommandError, Exit
from cli.run import path_part

PATH = "/api/v1/orders"
POLL_S = 0.2
app = typer.Typer(help="Close a position, or all.", no_args_is_help=True)
console = Console(highlight=False)

Key = Annotated[str | None, typer.Option(help="Idempotency key: the same key is the same closing.")]
Wait = Annotated[float, typer.Option(min=0, max=3600, help="Seconds to wait for the end.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def close(
    symbol: str,
    quantity: Annotated[str | None, typer.Option(help="Only so many shares.")] = None,
    percent: Annotated[str | None, typer.Option(help="Only this share of it, 0 to 100.")] = None,
    key: Key = None,
    wait: Wait = 10.0,
    as_json: Json = False,
) -> None:
    """Close a position: what reserves its shares is cancelled first, and restored on failure."""
    wanted = {"quantity": quantity, "percent": percent}
    body = {name: value for name, value in wanted.items() if value is not None}
    path = f"{PATH}/positions/{path_part(symbol.upper())}/close"
    with Gateway() as gateway:
        begun = gateway.post(path, body, {"Idempotency-Key": key or str(uuid.uuid4())})
        _follow(gateway, [begun], wait, as_json=as_json)


@app.command("close-all")
def close_all(key: Key = None, wait: Wait = 10.0, as_json: Json = False) -> None:
    """Close every position, the largest first."""
    with Gateway() as gateway:
        answer = gateway.post(
            f"{PATH}/positions/close", {}, {"Idempotency-Key": key or str(uuid.uuid4())}
        )
        _follow(gateway, answer["items"], wait, as_json=as_json)


def _follow(gateway: Gateway, begun: list[Any], wait_s: float, *, as_json: bool) -> None:
    """Show how the closings end. Exit code 1 if one failed or is still open."""
    deadline = time.monotonic() + wait_s
    shown = begun
    while any(one["status"] == "open" for one in shown) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        shown = [gateway.get(f"{PATH}/closings/{one['id']}") for one in begun]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    else:
        for one in shown:
            console.print(f"{one['symbol']} {one['status']} {one['reason'] or ''}".rstrip())
        if not shown:
            console.print("no positions")
    if any(one["status"] == "failed" for one in shown):
        raise CommandError("not every position was closed; exits were placed again", Exit.FAILED)
    if any(one["status"] == "open" for one in shown):
        raise CommandError(f"still open after {wait_s:g} s; it goes on by itself", Exit.FAILED)
