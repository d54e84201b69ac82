"""Verify the chain from the command line: `python -m services.audit.verify`.

Reads TRADEWIND_DATABASE_URL. Exit status 0: the chain is whole; 1: it is broken, the first row
that does not fit is named; 2: the database cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.app import load_settings
from services.audit.adapters.chain_scan import row_count, verify_chain
from services.audit.logic import Verification
from services.audit.settings import AuditSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify as the command line says; return the exit status."""
    options = _options(arguments)
    url = load_settings(AuditSettings).database_url.get_secret_value()
    console = Console(stderr=True)
    try:
        found = _with_progress(url, options.first, options.last, console)
    except (UnavailableError, psycopg.Error) as error:
        console.print(f"[red]cannot verify[/red]: {str(error).splitlines()[0]}")
        return 2
    if found.broken is None:
        console.print(
            f"[green]valid[/green]: {found.rows} rows, head {found.head.seq} {found.head.hash}"
        )
        return 0
    broken = found.broken
    console.print(f"[red]BROKEN[/red] at row {broken.seq}: {broken.code}")
    console.print(f"  expected {broken.expected}\n  found    {broken.found}")
    console.print(f"  {found.rows} rows before it are whole, up to {found.head.seq}")
    return 1


def _with_progress(url: str, first: int, last: int | None, console: Console) -> Verification:
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("rows", total=row_count(url, first, last))

        def advance(rows: int) -> bool:
            progress.update(task, completed=rows)
            return True

        return verify_chain(url, first, last, advance)


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
