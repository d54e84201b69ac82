"""`tradewind totp …`: one-time codes as the second factor of your own login."""

from __future__ import annotations

import sys
from typing import Any, Final

import typer
from rich.console import Console

from cli import asking
from cli.client import Gateway
from cli.errors import CommandError

TOTP: Final = "/api/v1/auth/totp"
TRIES: Final = 3
app = typer.Typer(help="One-time codes as your second factor.", no_args_is_help=True)
console = Console(highlight=False)


@app.command()
def enrol() -> None:
    """Set up one-time codes: a QR code for the authenticator app, then a first code."""
    password = asking.password()
    with Gateway() as gateway:
        made = gateway.post(TOTP, {"password": password})
        _draw(made["uri"])
        console.print(f"or type it in: {made['secret']}", soft_wrap=True)
        answer = _confirmed(gateway)
    asking.say("One-time codes are on. Recovery codes, each good once, shown this once:")
    for code in answer["recovery_codes"]:
        typer.echo(code)


@app.command()
def disable() -> None:
    """Turn off one-time codes."""
    body = {"password": asking.password(), "code": asking.code()}
    with Gateway() as gateway:
        gateway.post(f"{TOTP}/disable", body)
    console.print("one-time codes are off")


@app.command("recovery-codes")
def recovery_codes() -> None:
    """Make new recovery codes; the old ones are void."""
    body = {"password": asking.password(), "code": asking.code()}
    with Gateway() as gateway:
        answer = gateway.post("/api/v1/auth/recovery-codes", body)
    for code in answer["recovery_codes"]:
        typer.echo(code)


def _confirmed(gateway: Gateway) -> Any:
    for left in reversed(range(TRIES)):
        try:
            return gateway.post(f"{TOTP}/confirm", {"code": asking.code("Code that the app shows")})
        except CommandError as error:
            if not left:
                raise
            asking.say(str(error))
    raise AssertionError("unreachable")


def _draw(uri: str) -> None:
    import segno

    segno.make(uri, error="m", micro=False).terminal(sys.stdout, compact=True)
