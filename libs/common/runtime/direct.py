"""A connection to PostgreSQL for single statements that somebody waits for.

Each statement is prepared once and is its own transaction: one message there, one back, without
the work that a toolkit does around each. The driver opens the connection and translates values;
what lies between is libpq and the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_loads
from sqlalchemy import Dialect, TextClause
from sqlalchemy.dialects.postgresql.base import PGDialect

from libs.common.runtime.connection import connector

_DIALECT: Final[Dialect] = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_GOOD: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement as the server takes it: `$1`, `$2`, …, and which names these are."""

    query: bytes
    names: tuple[str, ...]

    @classmethod
    def of(cls, statement: TextClause) -> Prepared:
        """Return a text with `:names` in this form."""
        compiled = statement.compile(dialect=_DIALECT)
        return cls(str(compiled).encode(), tuple(compiled.positiontup or ()))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned: its columns' names, its rows, how many rows it touched."""

    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[Any, ...]] = field(default_factory=list)
    touched: int = 0


class DirectConnection:
    """One connection; one statement at a time. Made by `connect`.

    A connection that was lost, or whose statement was given up by its asker, is `closed` and is
    not used again: what became of that statement is unknown.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any], silence_s: float) -> None:
        self._connection = connection
        # Kept: what it has found out about types serves the next statement.
        self._translate = Transformer.from_context(connection)
        self._pg = connection.pgconn
        self._pg.nonblocking = 1
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._socket = self._pg.socket
        self._waiting: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._writing = False
        self.closed = False
        self._loop.add_reader(self._socket, self._readable)

    async def execute(self, prepared: Prepared, values: Sequence[Any]) -> Answer:
        """Run one statement. Raises the driver's errors."""
        translate = self._translate
        sent = translate.dump_sequence(values, [PyFormat.AUTO] * len(values))
        types = translate.types or ()
        key = (prepared.query, types)
        name = self._names.get(key)
        if name is None:
            name = b"direct_%d" % len(self._names)
            self._pg.send_prepare(name, prepared.query, types)
            await self._answer()
            self._names[key] = name
        self._pg.send_query_prepared(name, sent, translate.formats, Format.TEXT)
        result = await self._answer()
        touched = result.command_tuples or 0
        if not result.nfields:
            return Answer(touched=touched)
        translate.set_pgresult(result)
        rows = translate.load_rows(0, result.ntuples, tuple)
        return Answer(tuple(map(partial(_name, result), range(result.nfields))), rows, touched)

    async def _answer(self) -> PGresult:
        """Wait for the end of what was sent; raise what the server says against it."""
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(self._silence_s, self._cut)
        try:
            self._flush()
            result = await self._waiting
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()
            self._waiting = None
        if result.status not in _GOOD:
            raise error_from_result(result)
        return result

    def _flush(self) -> None:
        left = bool(self._pg.flush())
        if left and not self._writing:
            self._loop.add_writer(self._socket, self._writable)
        elif self._writing and not left:
            self._loop.remove_writer(self._socket)
        self._writing = left

    def _writable(self) -> None:
        try:
            self._flush()
        except psycopg.OperationalError as error:
            self._lose(error)

    def _readable(self) -> None:
        try:
            self._pg.consume_input()
            while not self._pg.is_busy():
                result = self._pg.get_result()
                if result is None:
                    self._done()
                    break
                self._result = result
        except psycopg.OperationalError as error:
            self._lose(error)

    def _done(self) -> None:
        result, self._result = self._result, None
        if result is not None and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(result)

    def _cut(self) -> None:
        self._lose(psycopg.OperationalError(f"no answer for {self._silence_s:g} s"))

    def _lose(self, error: psycopg.OperationalError) -> None:
        self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def close(self) -> None:
        """Close the connection; nothing of what it was doing is waited for."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        if self._writing:
            self._loop.remove_writer(self._socket)
        self._pg.finish()


async def connect(silence_s: float, url: str, **options: Any) -> DirectConnection:
    """Open a connection on which a statement that is unanswered for `silence_s` is given up.

    Raises the driver's OperationalError.
    """
    connection = await connector(silence_s)(url, autocommit=True, **options)
    set_json_loads(orjson.loads, connection)
    return DirectConnection(connection, silence_s)


def _name(result: PGresult, column: int) -> str:
    return (result.fname(column) or b"").decode()
