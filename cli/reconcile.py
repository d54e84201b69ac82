"""`tradewind reconcile …`: our books against the broker's."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import tables
from cli.client import Gateway
from cli.run import path_part
from infra.embedded.view_panels import clock_of

PATH = "/api/v1/orders/reconciliation"
app = typer.Typer(help="Compare our books with the broker's.", no_args_is_help=True)
console = Console(highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Discrepancy = Annotated[str, typer.Argument(metavar="ID", help="The discrepancy's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit trail.")]


@app.command()
def now(as_json: Json = False) -> None:
    """Compare everything now, and show what was found."""
    with Gateway(timeout_s=60.0) as gateway:
        answer = gateway.post(PATH, {})
    if not as_json:
        done = ("executions_booked", "orders_adopted", "orders_moved", "orders_restated",
                "cash_activities")  # fmt: skip
        counts = ", ".join(f"{answer[name]} {name.replace('_', ' ')}" for name in done)
        console.print(counts + ("; something is looked at again" if answer["doubts"] else ""))
        for line in answer["details"]:
            console.print(f"  {line}")
    _show(answer, as_json)


@app.command()
def show(as_json: Json = False) -> None:
    """Show the last comparisons, what differs, and what is blocked by it."""
    with Gateway() as gateway:
        answer = gateway.get(PATH)
    _show(answer, as_json)


@app.command()
def acknowledge(identity: Discrepancy, reason: Reason) -> None:
    """Note that somebody looks after a discrepancy; it goes on blocking."""
    _say(identity, "acknowledge", reason)


@app.command()
def resolve(identity: Discrepancy, reason: Reason) -> None:
    """Close a discrepancy: its symbol trades again. What still differs comes back."""
    _say(identity, "resolve", reason)


def _say(identity: str, act: str, reason: str) -> None:
    path = f"{PATH}/discrepancies/{path_part(identity)}/{act}"
    with Gateway() as gateway:
        row = gateway.post(path, {"reason": reason})
    done = "resolved" if act == "resolve" else "acknowledged, still blocking"
    console.print(f"{row['kind']} {row['symbol'] or 'account'}: {done}")


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    runs = tables.grid("finished", "cause", "booked>", "adopted>", "moved>", "doubts")
    for row in answer["runs"]:
        found = row["findings"]
        counts = (found.get(name, 0) for name in
                  ("executions_booked", "orders_adopted", "orders_moved"))  # fmt: skip
        doubts = "yes" if found.get("doubts") else ""
        runs.add_row(clock_of(row["finished_at"]), row["cause"], *map(str, counts), doubts)
    tables.show(console, runs)
    if not answer["discrepancies"]:
        console.print("no discrepancy is open")
        return
    open_ones = tables.grid("id", "since", "where", "kind", "ours>", "theirs>", "seen by", "detail")
    for row in answer["discrepancies"]:
        open_ones.add_row(
            row["id"],
            clock_of(row["opened_at"]),
            row["symbol"] or "account",
            row["kind"],
            row["ours"],
            row["theirs"],
            row["acknowledged_by"] or "–",
            row["detail"],
        )
    console.print()
    tables.show(console, open_ones)
