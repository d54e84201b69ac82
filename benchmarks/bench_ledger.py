"""Books verified: every promise of the ledger worked out anew.

A ledger of 60 000 executions on twenty orders, booked by the executor's store: some four transfers
each. Ours: `tradewind ledger verify`, all of its checks on one snapshot, as transfers a second.
Floor of the same run: the rows that it judges (transfers, accounts, executions, orders, positions)
read once by COPY, and nothing worked out. The checks are held to be sound before they are timed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg
import uvloop

from benchmarks.bench_booking import Ours
from benchmarks.results import Measurement
from infra.ledger_verify import CHECKS, verify
from infra.migrate import migrate
from tests.support.servers import running_postgres

EXECUTIONS: Final = 60_000
TURNS: Final = 3
READ: Final = ("ledger_transfers", "ledger_accounts", "trades", "orders", "portfolio_positions")


def run(executions: int = EXECUTIONS) -> list[Measurement]:
    """Return transfers verified a second."""
    directory = Path(tempfile.mkdtemp(prefix="tradewind-bench-"))
    directory.chmod(0o755)
    with running_postgres(directory) as postgres:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench_ledger")
        url = postgres.url.rsplit("/", 1)[0] + "/bench_ledger"
        migrate(url)
        uvloop.run(_fill(url, executions))
        return [_measure(url)]


async def _fill(url: str, executions: int) -> None:
    ours = await Ours.prepare(url)
    await ours.batched(0, executions)
    await ours.close()


def _measure(url: str) -> Measurement:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        row = connection.execute("SELECT count(*) FROM ledger_transfers").fetchone()
    assert row is not None
    transfers = int(row[0])
    _verify(url)
    verified = read = 0.0
    # In turns, so that a busy neighbour disturbs both alike.
    for _ in range(TURNS):
        verified += _verify(url)
        read += _read(url)
    return Measurement(
        f"verify {transfers:,} transfers: all {len(CHECKS)} checks".replace(",", " "),
        TURNS * transfers / verified,
        "transfers/s",
        TURNS * transfers / read,
        "bare COPY of the rows",
    )


def _verify(url: str) -> float:
    started = time.perf_counter()
    broken = [result for result in verify(url) if result.broken]
    seconds = time.perf_counter() - started
    assert not broken, broken
    return seconds


def _read(url: str) -> float:
    started = time.perf_counter()
    with psycopg.connect(url) as connection:
        for table in READ:
            with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as rows:
                for _ in rows:
                    pass
    return time.perf_counter() - started
