"""Transactions of one statement, over a few connections that know their statements by heart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy import TextClause
from sqlalchemy.exc import DBAPIError, IntegrityError

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.direct import Answer, DirectConnection, Prepared


class Transaction:
    """What is to be done once a transaction has committed, and never if it has not."""

    def __init__(self) -> None:
        self._after_commit: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` after the commit."""
        self._after_commit.append(callback)

    def committed(self) -> None:
        """Run the callbacks."""
        for callback in self._after_commit:
            callback()


class Said:
    """The answer to one statement."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def rowcount(self) -> int:
        """How many rows were written or returned."""
        return self._answer.touched

    def scalar_one(self) -> Any:
        """Return the one value of the one row."""
        (row,) = self._answer.rows
        return row[0]

    def scalars(self) -> list[Any]:
        """Return each row's first value."""
        return [row[0] for row in self._answer.rows]

    def mappings(self) -> list[dict[str, Any]]:
        """Return each row by its columns' names."""
        return [dict(zip(self._answer.columns, row, strict=True)) for row in self._answer.rows]


class SingleSession(Transaction):
    """Runs one statement, which is its own transaction."""

    def __init__(self, connection: DirectConnection, prepared: dict[str, Prepared]) -> None:
        super().__init__()
        self._connection = connection
        self._prepared = prepared

    async def execute(
        self, statement: TextClause, parameters: Mapping[str, Any] | None = None
    ) -> Said:
        """Run the statement, a text. Raises IntegrityError or another DBAPIError."""
        ready = self._prepared.get(statement.text)
        if ready is None:
            ready = self._prepared[statement.text] = Prepared.of(statement)
        values = [parameters[name] for name in ready.names] if parameters else []
        try:
            return Said(await self._connection.execute(ready, values))
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            kind = IntegrityError if isinstance(error, psycopg.IntegrityError) else DBAPIError
            raise kind(statement.text, None, error) from error

    async def rows(
        self, statement: TextClause, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Return all rows by their columns' names."""
        return (await self.execute(statement, parameters)).mappings()

    async def row(
        self, statement: TextClause, parameters: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any] | None:
        """Return the first row or None."""
        return next(iter(await self.rows(statement, parameters)), None)


class SinglePool:
    """At most `size` connections; the one that was used last is used next, while it is warm."""

    def __init__(
        self, connect: Callable[[], Awaitable[DirectConnection]], *, size: int, timeout_s: float
    ) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._room = asyncio.Semaphore(size)
        self._idle: list[DirectConnection] = []
        self._prepared: dict[str, Prepared] = {}

    @asynccontextmanager
    async def session(self) -> AsyncIterator[SingleSession]:
        """Open a session. Raises UnavailableError where all connections stay busy, and the
        driver's OperationalError."""
        await self._enter()
        try:
            connection = self._warm() or await self._connect()
            try:
                yield SingleSession(connection, self._prepared)
            except IntegrityError:
                raise  # what the tables refuse says nothing against the connection
            except BaseException:
                connection.close()
                raise
            finally:
                if not connection.closed:
                    self._idle.append(connection)
        finally:
            self._room.release()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while (connection := self._warm()) is not None:
            connection.close()

    async def _enter(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._room.acquire()
        except TimeoutError as error:
            raise UnavailableError("database: all connections are busy") from error

    def _warm(self) -> DirectConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None
