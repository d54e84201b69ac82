"""What a command asks the person at the terminal: secrets are typed unseen."""

from __future__ import annotations

import sys

import typer

from cli.errors import CommandError, Exit


def is_terminal() -> bool:
    """Tell whether somebody is there to be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def password(label: str = "Password") -> str:
    """Return a password that is typed."""
    return str(typer.prompt(label, hide_input=True, err=True))


def new_password() -> str:
    """Return a new password that is typed twice."""
    return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True))


def code(label: str = "One-time or recovery code") -> str:
    """Return a code that is typed."""
    return str(typer.prompt(label, err=True)).strip()


def from_stdin(what: str) -> str:
    """Return a secret from standard input, less one newline at its end."""
    text = sys.stdin.read()
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise CommandError(f"standard input holds no {what}", Exit.USAGE)
    return text


def say(text: str) -> None:
    """Tell something that is no part of the answer."""
    typer.secho(text, err=True, fg="yellow")
