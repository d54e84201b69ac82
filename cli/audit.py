"""`tradewind audit …`: is the record whole, and how does somebody else see that it is?"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.client import home
from cli.errors import CommandError, Exit, in_a_sentence

if TYPE_CHECKING:
    from services.audit.evidence import Anchorage
    from services.audit.logic import Verification
    from services.audit.settings import AuditSettings

app = typer.Typer(help="Verify, anchor, prove, export the audit log.", no_args_is_help=True)
console = Console(highlight=False)

Keys = Annotated[
    list[str] | None, typer.Option("--key", help="A public key that may have signed, in hex.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@app.command()
def verify(
    first: Annotated[int, typer.Option(min=1, help="The first row to read.")] = 1,
    last: Annotated[int | None, typer.Option(min=1, help="The last one.")] = None,
    keys: Keys = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that read side by side.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the hash chain and hold it against the anchors. Exit code 1 names the first row that
    does not fit; 3: the database cannot be read."""
    from libs.common.kernel.errors import UnavailableError
    from services.audit.anchors import AnchorError
    from services.audit.evidence import anchors_broken

    settings, anchorage = here(keys)
    try:
        found = _verified(settings, anchorage, first, last, jobs or os.cpu_count() or 1)
    except AnchorError as error:
        found = anchors_broken(error)
    except UnavailableError as error:
        raise CommandError(f"cannot verify: {error}", Exit.NOT_RUNNING) from error
    if as_json:
        typer.echo(json.dumps({**asdict(found), "valid": found.valid}, indent=2))
    else:
        for line in _told(found, anchorage):
            console.print(line, soft_wrap=True)
    if not found.valid:
        raise typer.Exit(Exit.FAILED)


def _verified(
    settings: AuditSettings, anchorage: Anchorage | None, first: int, last: int | None, jobs: int
) -> Verification:
    from services.audit.adapters.chain_scan import Evidence, row_count, verify_chain

    url = settings.database_url.get_secret_value()
    evidence = anchorage.evidence() if anchorage else Evidence()
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=row_count(url, first, last))

        def advance(rows: int) -> bool:
            progress.update(task, completed=rows)
            return True

        return verify_chain(url, first, last, advance, evidence=evidence, jobs=jobs)


def _told(found: Verification, anchorage: Anchorage | None) -> list[str]:
    if found.broken is None:
        told = [f"valid: {found.rows} rows, head {found.head.seq} {found.head.hash}"]
        if found.anchors:
            return [*told, f"{found.anchors} anchors hold, up to row {found.anchored_seq}"]
        where = anchorage.files.path if anchorage else "anywhere"
        return [*told, f"no anchor to hold it against in {where}"]
    broken = found.broken
    day = f" of {broken.day}" if broken.day else ""
    near = "" if broken.exact else " or one of that day after it"
    return [
        f"BROKEN at row {broken.seq}{day}{near}: {broken.code}",
        f"  expected {broken.expected}",
        f"  found    {broken.found}",
        f"  {found.rows} rows before it are whole, {found.anchors} anchors hold",
    ]


@app.command()
def anchor() -> None:
    """Anchor what is new, now, instead of within the hour."""
    from libs.common.runtime.clocks import SystemClock
    from libs.common.runtime.database import Database
    from services.audit.anchoring import Anchorer
    from services.audit.store import AuditStore

    settings, anchorage = here(None)
    if anchorage is None or anchorage.key is None:
        raise CommandError("anchors need TRADEWIND_AUDIT_ANCHORS and TRADEWIND_AUDIT_KEY")
    files, key, former = anchorage.files, anchorage.key, anchorage.keys

    async def work() -> None:
        database = Database(
            settings.database_url.get_secret_value(), pool_size=1, timeout_s=30, name="audit"
        )
        try:
            anchorer = Anchorer(AuditStore(database), files, key, former_keys=former)
            for made in await anchorer.anchor(SystemClock().now()):
                console.print(f"{made.day} ({made.kind}): rows {made.first_seq} to {made.last_seq}")
        finally:
            await database.close()

    with in_a_sentence():
        asyncio.run(work())
    console.print(f"public key {key.public}", soft_wrap=True)


@app.command()
def prove(
    seq: Annotated[int, typer.Argument(min=1, help="The row.")],
    out: Annotated[Path | None, typer.Option(help="The file; else it is printed.")] = None,
) -> None:
    """Prove that a row is in the record, to somebody who has the public key and nothing else."""
    from services.audit import proofs
    from services.audit.adapters.chain_scan import read_claim

    settings, anchorage = here(None)
    if anchorage is None:
        raise CommandError("proofs need the anchors: TRADEWIND_AUDIT_ANCHORS")
    with in_a_sentence():
        claim = read_claim(settings.database_url.get_secret_value(), seq)
        if claim is None:
            raise CommandError(f"there is no row {seq}")
        anchors = anchorage.files.read(anchorage.keys)
        day = proofs.covering(anchors, seq).day
        proof = proofs.prove_row(claim[0], anchors, anchorage.files.hashes(day))
    _write(proofs.encode(proof), out)


@app.command("prove-growth")
def prove_growth(
    old: Annotated[int, typer.Argument(min=1, help="The earlier anchor's line.")],
    new: Annotated[int, typer.Argument(min=1, help="The later one's, of the same day.")],
    out: Annotated[Path | None, typer.Option(help="The file; else it is printed.")] = None,
) -> None:
    """Prove that a day's later anchor only added rows to an earlier one."""
    from services.audit import proofs

    _, anchorage = here(None)
    if anchorage is None:
        raise CommandError("proofs need the anchors: TRADEWIND_AUDIT_ANCHORS")
    with in_a_sentence():
        anchors = anchorage.files.read(anchorage.keys)
        if max(old, new) > len(anchors):
            raise CommandError(f"there are {len(anchors)} anchors")
        hashes = anchorage.files.hashes(anchors[new - 1].day)
        proof = proofs.prove_growth(anchors[old - 1], anchors[new - 1], hashes)
    _write(proofs.encode(proof), out)


@app.command("check-proof")
def check_proof(
    file: Annotated[Path, typer.Argument(help="What `audit prove` wrote.")], keys: Keys = None
) -> None:
    """Check a proof. Needs no database. Exit code 1 if it proves nothing."""
    from services.audit import proofs
    from services.audit.evidence import pinned

    try:
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    with in_a_sentence():
        told = proofs.check(data, pinned(keys or ()))
    console.print(f"proven: {told}", soft_wrap=True)
    if not keys:
        console.print("whose key signed was not checked: name it with --key", soft_wrap=True)


def here(keys: list[str] | None) -> tuple[AuditSettings, Anchorage | None]:
    """Return the settings of the audit log that is meant, and where its anchors are."""
    from infra.audit_place import settings_here
    from infra.embedded.errors import EmbeddedError
    from services.audit.evidence import Anchorage, pinned

    with in_a_sentence():
        try:
            settings = settings_here(home())
        except (LookupError, EmbeddedError) as error:
            raise CommandError(str(error), Exit.NOT_RUNNING) from error
        anchorage = Anchorage.of(settings)
    if anchorage is not None and keys:
        anchorage = Anchorage(anchorage.files, anchorage.key, pinned(keys))
    return settings, anchorage


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        typer.echo(data.decode())
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{out}: {error.strerror}") from error
    console.print(f"written to {out}", soft_wrap=True)
