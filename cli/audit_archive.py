"""`tradewind audit export …`: take the record out, with its proof, and let the oldest of it go."""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cli.audit import Keys, here
from cli.errors import CommandError, in_a_sentence

console = Console(highlight=False)
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())


def export(
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    since: Annotated[dt.datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")],
    until: Annotated[
        dt.datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The day after the last.")
    ],
) -> None:
    """Write the rows recorded in these days (UTC) to a file that proves itself."""
    from libs.common.runtime.clocks import SystemClock
    from services.audit.adapters import parquet_archive
    from services.audit.adapters.chain_scan import claims_of, rows_between

    settings, anchorage = here(None)
    if anchorage is None or anchorage.key is None:
        raise CommandError("exports need TRADEWIND_AUDIT_ANCHORS and TRADEWIND_AUDIT_KEY")
    url = settings.database_url.get_secret_value()
    with in_a_sentence():
        anchors = anchorage.files.read(anchorage.keys)
        first, last = rows_between(url, since.replace(tzinfo=dt.UTC), until.replace(tzinfo=dt.UTC))
        if last < first:
            raise CommandError("no row was recorded in these days")
        with Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("writing", total=last - first + 1)
            with claims_of(url, first, last) as claims:
                manifest = parquet_archive.write(
                    file, claims, anchors, anchorage.key, SystemClock().now().isoformat(),
                    lambda rows: progress.update(task, completed=rows),
                )  # fmt: skip
    console.print(
        f"{file}: rows {manifest.first_seq} to {manifest.last_seq}, "
        f"{len(manifest.anchors)} days anchored",
        soft_wrap=True,
    )


def check_export(
    file: Annotated[Path, typer.Argument(help="What `audit export` wrote.")], keys: Keys = None
) -> None:
    """Check an export, row by row. Needs no database. Exit code 1 if anything is not as signed."""
    from services.audit.adapters import parquet_archive
    from services.audit.evidence import pinned

    with in_a_sentence(), Progress(*_COLUMNS, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("checking", total=None)
        manifest = parquet_archive.check(
            file, pinned(keys or ()), lambda rows: bar.update(task, completed=rows)
        )
    console.print(
        f"as signed: rows {manifest.first_seq} to {manifest.last_seq}, "
        f"{len(manifest.anchors)} anchors hold",
        soft_wrap=True,
    )
    if not keys:
        console.print("whose key signed was not checked: name it with --key", soft_wrap=True)


def prune(
    file: Annotated[Path, typer.Argument(help="An export of whole months, the oldest there are.")],
    url: Annotated[
        str, typer.Option(envvar="TRADEWIND_OWNER_URL", help="The database as its owner sees it.")
    ],
) -> None:
    """Check an export, then drop its rows from the database. The chain goes on from a signed
    checkpoint; keep the file."""
    from libs.common.runtime.clocks import SystemClock
    from services.audit.adapters import parquet_archive
    from services.audit.prune import prune as drop

    _, anchorage = here(None)
    if anchorage is None or anchorage.key is None:
        raise CommandError("a checkpoint needs TRADEWIND_AUDIT_ANCHORS and TRADEWIND_AUDIT_KEY")
    with in_a_sentence():
        manifest = parquet_archive.check(file, anchorage.keys)
        gone = drop(
            url, manifest, anchorage.files, anchorage.key, f"person:{getpass.getuser()}",
            SystemClock().now(),
        )  # fmt: skip
    console.print(f"{gone} rows dropped, up to row {manifest.last_seq}; keep {file}")


def forget(
    month: Annotated[str, typer.Argument(help="As 2026-11.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase the key of a month that is over: its personal details can be read no more, for good."""
    from libs.common.runtime.clocks import SystemClock
    from libs.common.runtime.database import Database
    from services.audit.key_store import KeyStore
    from services.audit.sealing import period_of

    settings, _ = here(None)
    now = SystemClock().now()
    if month >= period_of(now):
        raise CommandError("only a month that is over can be forgotten")
    if not yes:
        typer.confirm(f"Make the personal details of {month} unreadable for good?", abort=True)

    async def work() -> bool:
        database = Database(
            settings.database_url.get_secret_value(), pool_size=1, timeout_s=30, name="audit"
        )
        try:
            return await KeyStore(database).erase(month, f"person:{getpass.getuser()}", now)
        finally:
            await database.close()

    with in_a_sentence():
        erased = asyncio.run(work())
    if not erased:
        raise CommandError(f"there is no key of {month}")
    console.print(f"the personal details of {month} can be read no more")
