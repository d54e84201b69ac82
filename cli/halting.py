"""`tradewind halt`: the kill switch, through the system or straight at the broker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.approvals import waits
from cli.client import Gateway, home
from cli.errors import CommandError, Exit
from infra.embedded.errors import EmbeddedError
from infra.embedded.view_panels import styled

if TYPE_CHECKING:
    from infra.halt.direct import Report

CALL_TIMEOUT_S = 5.0
console = Console(highlight=False)
_alarm = Console(highlight=False, stderr=True)


def halt(
    reason: Annotated[str, typer.Argument(help="Why; it is recorded.")],
    direct: Annotated[
        bool, typer.Option("--direct", help="Speak to the broker itself; needs no service.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Close every position too, exits included.")
    ] = False,
    cancel_exits: Annotated[
        bool, typer.Option("--cancel-exits", help="With --direct: cancel protective exits too.")
    ] = False,
    within: Annotated[
        float, typer.Option(min=1, max=3600, help="With --direct: seconds to see it done.")
    ] = 30.0,
    broker: Annotated[
        str | None, typer.Option(help="With --direct: alpaca, else the last run's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Stop all trading at once: nothing but exits goes out until `resume`.

    With --direct it cancels at the broker, closes where asked to, and looks until the broker
    shows it. Exit code 1 if something is left or trading may begin again, 3 if the broker is away.
    """
    if direct:
        _halt_directly(
            reason, flatten=flatten, cancel_exits=cancel_exits, within_s=within, broker=broker,
            as_json=as_json,
        )  # fmt: skip
    else:
        if cancel_exits or broker is not None:
            raise typer.BadParameter("--cancel-exits and --broker go with --direct")
        wish = {"reason": reason, "flatten": True} if flatten else {"reason": reason}
        switch("halt", wish, as_json=as_json)


def switch(verb: str, body: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Set the kill switch through the risk manager."""
    with Gateway() as gateway:
        answer = gateway.post(f"/api/v1/risk/{verb}", body)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    elif not waits(answer):
        console.print("trading is", styled(answer.get("state", "?")))


def _halt_directly(
    reason: str, *, flatten: bool, cancel_exits: bool, within_s: float, broker: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    # Only here: the broker's library takes a second to import.
    from infra.halt.broker import DirectBroker, KeysRefusedError
    from infra.halt.direct import halt_directly
    from infra.halt.keep import keep_halted
    from infra.halt.place import find

    try:
        place = find(home(), broker)
    except EmbeddedError as error:
        raise CommandError(f"{error}\n{error.remedy}".strip()) from error
    kept, how = keep_halted(place, reason, flatten=flatten)
    _alarm.print(how, style=None if kept else "bold red", soft_wrap=True)
    desk = DirectBroker(place.broker_url, place.key, place.secret, timeout_s=CALL_TIMEOUT_S)
    try:
        report = halt_directly(
            desk, flatten=flatten, cancel_exits=cancel_exits, within_s=within_s,
            tell=lambda text: _alarm.print(text, soft_wrap=True),
        )  # fmt: skip
    except KeysRefusedError as error:
        raise CommandError(f"nothing was done at the broker: {error}") from error
    if as_json:
        typer.echo(json.dumps({**asdict(report), "kept_halted": kept, "switch": how}, indent=2))
    else:
        _show(report, flatten=flatten)
    if not report.verified:
        away = report.unanswered is not None
        raise CommandError(
            f"not seen to be done within {within_s:g} s: {report.unanswered or 'see what is left'}",
            Exit.NOT_RUNNING if away else Exit.FAILED,
        )
    if not kept:
        raise CommandError("done at the broker, but services that come back will trade again")


def _show(report: Report, *, flatten: bool) -> None:
    console.print(f"cancelled {len(report.cancelled)} orders{_after(report.quiet_s)}")
    if report.spared:
        console.print(f"left {report.spared} protective exits where they are")
    if flatten:
        closed = ", ".join(report.closed) or "nothing"
        console.print(f"closed {closed}{_after(report.flat_s)}", soft_wrap=True)
    for left in (*report.orders_left, *report.positions_left):
        console.print(f"[red]left:[/red] {left}", soft_wrap=True)


def _after(seconds: float | None) -> str:
    return "" if seconds is None else f" in {seconds:.2f} s"
