"""Verify the chain where there is no `tradewind`, as in a container of the service:
`python -m services.audit.verify`.

Reads the service's own settings; anchors are held against it where there are any. Exit status 0:
the chain is whole; 1: it is broken, the first row that does not fit is named; 2: the database
cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.app import load_settings
from services.audit.adapters.chain_scan import Evidence, row_count, verify_chain
from services.audit.anchors import AnchorError
from services.audit.evidence import Anchorage, anchors_broken
from services.audit.logic import Verification
from services.audit.settings import AuditSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify as the command line says; return the exit status."""
    options = _options(arguments)
    settings = load_settings(AuditSettings)
    console = Console(stderr=True)
    try:
        found = _with_progress(settings, options.first, options.last, console)
    except AnchorError as error:
        found = anchors_broken(error)
    except (UnavailableError, InvalidInputError, psycopg.Error) as error:
        console.print(f"[red]cannot verify[/red]: {str(error).splitlines()[0]}")
        return 2
    if found.broken is None:
        console.print(
            f"[green]valid[/green]: {found.rows} rows, {found.anchors} anchors, "
            f"head {found.head.seq} {found.head.hash}"
        )
        return 0
    broken = found.broken
    console.print(f"[red]BROKEN[/red] at row {broken.seq}: {broken.code}")
    console.print(f"  expected {broken.expected}\n  found    {broken.found}")
    console.print(f"  {found.rows} rows before it are whole, up to {found.head.seq}")
    return 1


def _with_progress(
    settings: AuditSettings, first: int, last: int | None, console: Console
) -> Verification:
    url = settings.database_url.get_secret_value()
    anchorage = Anchorage.of(settings)
    evidence = anchorage.evidence() if anchorage else Evidence()
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("rows", total=row_count(url, first, last))

        def advance(rows: int) -> bool:
            progress.update(task, completed=rows)
            return True

        return verify_chain(url, first, last, advance, evidence=evidence)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="services.audit.verify", description=__doc__)
    parser.add_argument("--first", type=_seq, default=1, help="first row to verify")
    parser.add_argument("--last", type=_seq, default=None, help="last row (default: the end)")
    return parser.parse_args(arguments)


def _seq(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 2**62:
        raise argparse.ArgumentTypeError(f"{text} is no place in the chain")
    return value


if __name__ == "__main__":
    sys.exit(main())
