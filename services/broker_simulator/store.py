"""The simulator's own memory: one SQLite file that outlives its process.

Write-ahead logging without a sync per commit: a commit survives the death of the process at any
instruction, which is what the simulator promises; it need not survive the loss of the machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from libs.common.kernel.errors import InvalidInputError, UnavailableError
from services.broker_simulator.engine.model import Account, Activity, Execution, Order
from services.broker_simulator.engine.registry import Changes
from services.broker_simulator.ports import Marks

SCHEMA_VERSION = 1
_TABLES = ("accounts", "orders", "executions", "activities")
T = TypeVar("T")


class Snapshot(msgspec.Struct, kw_only=True):
    """Everything that was stored."""

    now_ns: int
    sequence: int
    marks: Marks
    accounts: list[Account]
    orders: list[Order]
    executions: list[Execution]
    activities: list[Activity]


class StateFile:
    """Reads and writes the state; one process at a time may hold it."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Opened while wiring, used by the serving thread only.
            self._db = sqlite3.connect(
                str(path) if path is not None else ":memory:",
                isolation_level=None,
                check_same_thread=False,
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._create()
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError(f"simulator state {path}: {error}") from error
        self._encoder = msgspec.msgpack.Encoder()

    def load(self, fingerprint: str) -> Snapshot | None:
        """Return what was stored, None for a new file.

        Raises InvalidInputError when the file belongs to another market than `fingerprint`.
        """
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if "fingerprint" not in meta:
            self._put("fingerprint", fingerprint.encode())
            return None
        stored = bytes(meta["fingerprint"]).decode()
        if stored != fingerprint:
            raise InvalidInputError(
                f"simulator state {self._path} belongs to market {stored}, not {fingerprint}: "
                "choose another file with TRADEWIND_SIMULATOR_STATE, or remove this one"
            )
        if "position" not in meta:
            return None
        now_ns, sequence = msgspec.msgpack.decode(meta["position"], type=tuple[int, int])
        marks = meta.get("marks")
        return Snapshot(
            now_ns=now_ns,
            sequence=sequence,
            marks={} if marks is None else msgspec.msgpack.decode(marks, type=Marks),
            accounts=self._read("accounts", Account),
            orders=self._read("orders", Order),
            executions=self._read("executions", Execution),
            activities=self._read("activities", Activity),
        )

    def save(
        self,
        changes: Changes,
        now_ns: int,
        sequence: int,
        marks: Marks | None = None,
    ) -> None:
        """Store the changes with the time they lead to, in one commit; marks where given."""
        encode = self._encoder.encode
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._upsert("accounts", ((a.id, 0, encode(a)) for a in changes.accounts.values()))
            self._upsert("orders", ((o.id, o.seq, encode(o)) for o in changes.orders.values()))
            self._upsert("executions", ((e.id, e.seq, encode(e)) for e in changes.executions))
            self._upsert("activities", ((a.id, a.ts, encode(a)) for a in changes.activities))
            self._put("position", encode((now_ns, sequence)))
            if marks is not None:
                self._put("marks", encode(marks))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise UnavailableError(f"simulator state {self._path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _create(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise UnavailableError(
                f"simulator state {self._path} has version {version}, this is {SCHEMA_VERSION}"
            )
        self._db.execute("CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY) STRICT")
        for table in _TABLES:
            self._db.execute(
                f"CREATE TABLE IF NOT EXISTS {table} "
                "(id TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL) STRICT"
            )
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _upsert(self, table: str, rows: Iterable[tuple[str, int, bytes]]) -> None:
        self._db.executemany(
            f"INSERT INTO {table} (id, seq, body) VALUES (?, ?, ?) "  # nosec B608 # of TABLES
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            rows,
        )

    def _put(self, key: str, value: Any) -> None:
        self._db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def _read(self, table: str, kind: type[T]) -> list[T]:
        decoder = msgspec.msgpack.Decoder(kind)
        read = f"SELECT body FROM {table} ORDER BY seq, rowid"  # nosec B608 # of TABLES
        rows = self._db.execute(read)
        return [decoder.decode(body) for (body,) in rows]
