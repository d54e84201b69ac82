"""`tradewind parity`: a recorded live session against the same session replayed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import tables
from cli.backtest_words import (
    Json,
    Remote,
    Words,
    console,
    run_folder,
    strategy_directories,
    vetting,
    words,
)
from cli.client import home
from cli.errors import CommandError, Exit, in_a_sentence
from cli.remote import run_remotely

DATABASE: Final = "tradewind"
ROLE: Final = "backtester"
SHOWN: Final = 15


def parity(
    day: Annotated[str | None, typer.Option(help="A day of market time, e.g. 2019-03-05.")] = None,
    start: Annotated[str, typer.Option("--from", help="Or from this time on, RFC 3339.")] = "",
    end: Annotated[str, typer.Option("--to", help="To before this time, RFC 3339.")] = "",
    account: Annotated[str, typer.Option(help="Whose orders.")] = "main",
    url: Annotated[
        str | None,
        typer.Option(help="The database; else TRADEWIND_DATABASE_URL, else the running system's."),
    ] = None,
    remote: Remote = False,
    models: Words = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report.")] = None,
    as_json: Json = False,
) -> None:
    """Compare decision by decision, order by order, fill by fill. Exit code 1 if a decision differs
    and neither data, warm-up nor code explain it."""
    if (day is None) == (not start or not end):
        raise CommandError("name a --day, or --from and --to", Exit.USAGE)
    chosen = words(models or [])
    with in_a_sentence():
        if remote:
            recorded = {"day": day or "", "start": start, "end": end, "models": chosen}
            run = run_remotely("parity", recorded=recorded)
            data, folder = run["result"], run["folder"]
        else:
            data, folder = _compared(day, start, end, account, url, chosen, out)
    if as_json:
        typer.echo(json.dumps({**data, "folder": folder}, indent=2))
    else:
        _show(data, folder)
    if data["unexplained"]:
        raise typer.Exit(Exit.FAILED)


def _compared(
    day: str | None, start: str, end: str, account: str, url: str | None,
    models: Mapping[str, Any], out: Path | None,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """Return the report of a session that is read and replayed here, and where it is kept."""
    from libs.common.backtest.models import models_from
    from libs.common.backtest.parity.report import parity_of, write_parity
    from libs.common.backtest.shelf import load_known
    from libs.common.backtest.spec import moment_ns
    from services.backtester.adapters.session_reader import read_session

    try:
        begin = moment_ns(day or start, "from")
        before = moment_ns(day or end, "to", whole_day=day is not None)
    except ValueError as error:
        raise CommandError(str(error)) from error
    session = read_session(url or database_url(), begin, before, account)
    names = [each.class_name for each in session.strategies]
    registry = load_known(names, strategy_directories(), vetting())
    found = parity_of(session, registry, models_from({**models, "cash": session.equity}))
    folder = run_folder(out, "parity", day or start[:10])
    write_parity(found, folder)
    return found.to_json(), str(folder)


def database_url() -> str:
    """Return TRADEWIND_DATABASE_URL, else that of the system that runs in our home. Raises
    CommandError."""
    given = os.environ.get("TRADEWIND_DATABASE_URL")
    if given:
        return given
    from infra.embedded import state
    from infra.embedded.credentials import Credentials
    from infra.embedded.ports import LOOPBACK

    running = state.read(home())
    if running is None:
        raise CommandError("name the database: --url or TRADEWIND_DATABASE_URL", Exit.NOT_RUNNING)
    secret = Credentials(home()).secret(f"database_{ROLE}")
    return f"postgresql://{ROLE}:{secret}@{LOOPBACK}:{running.ports['postgres']}/{DATABASE}"


def _show(data: dict[str, Any], folder: str) -> None:
    table = tables.grid("", "compared>", "same>", "different>", "why")
    for name in ("decisions", "orders", "fills"):
        part = data[name]
        compared = part.get("compared", part.get("live", 0))
        causes = part["causes"]
        table.add_row(
            name,
            f"{compared:,}",
            f"{part['same']:,}",
            f"{sum(causes.values()):,}",
            ", ".join(f"{cause} {count:,}" for cause, count in causes.items()),
        )
    tables.show(console, table)
    decisions, fills = data["decisions"], data["fills"]
    console.print(
        f"replayed decisions {decisions['replayed']:,}; "
        f"stated anew by either {decisions['restated']:,}"
    )
    for part, told in (
        (data["orders"], "live orders were larger by"),
        (fills, "live paid more by"),
    ):
        if part["off_bps_mean"] is not None:
            console.print(
                f"{told} {part['off_bps_mean']:+.2f} bps on average, "
                f"19 of 20 are within {part['off_bps_p95']:.2f}",
                soft_wrap=True,
            )
    rows = decisions["differences"][:SHOWN]
    if rows:
        table = tables.grid("strategy", "symbol", "bar", "live", "replay", "cause")
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        tables.show(console, table)
    for note in data["notes"]:
        console.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    console.print(f"kept in {folder}", soft_wrap=True)
