"""PostgreSQL: one pool a service, transactions whose type says whether they may write."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psycopg
from sqlalchemy import Executable, text
from sqlalchemy.engine import CursorResult, RowMapping
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.connection import connector
from libs.common.runtime.direct import connect
from libs.common.runtime.metrics import DB_DURATION, DB_FAILURES
from libs.common.runtime.single import SinglePool, SingleSession, Transaction

# How long one statement may take, and the server be silent, in units of the time-out.
_STATEMENT_UNITS = 3
_SILENCE_UNITS = 4

_GONE = (
    OperationalError,
    InterfaceError,
    PoolTimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)

# What says nothing against a message or a request: the database is not in the state that this
# version needs, as before its migration or with a right withdrawn. It is waited for, not buried.
_NOT_READY = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)

# Passes, without a fence set, or raises: see libs/common/runtime/tenure.py.
FENCE = "desk_fence(:desk_service, :desk_account, CAST(:desk_epoch AS bigint))"
_FENCE = text(f"SELECT {FENCE}")

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def _dumps(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()


class ReadSession:
    """A read-only transaction: one snapshot for all its statements."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run one statement."""
        return await self.connection.execute(statement, parameters)

    async def rows(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Sequence[RowMapping]:
        """Return all rows as mappings."""
        return (await self.connection.execute(statement, parameters)).mappings().all()

    async def row(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> RowMapping | None:
        """Return the first row or None."""
        return (await self.connection.execute(statement, parameters)).mappings().first()


class WriteSession(ReadSession, Transaction):
    """A transaction that commits when its block ends well; callbacks run after the commit."""

    def __init__(self, connection: AsyncConnection) -> None:
        ReadSession.__init__(self, connection)
        Transaction.__init__(self)


class Database:
    """The service's way to PostgreSQL. Connections are opened on first use."""

    def __init__(self, url: str, *, pool_size: int, timeout_s: float, name: str) -> None:
        self._fence: dict[str, Any] = {
            "desk_service": name,
            "desk_account": "",
            "desk_epoch": None,
        }
        scheme, _, rest = url.partition("://")
        silence_s = timeout_s * _SILENCE_UNITS
        options: dict[str, Any] = {
            "connect_timeout": max(2, round(timeout_s)),
            "application_name": name,
            "options": "-c timezone=UTC -c statement_timeout="
            f"{round(timeout_s * 1000) * _STATEMENT_UNITS}",
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
        }
        self._singles = SinglePool(
            lambda: connect(silence_s, f"postgresql://{rest}", **options),
            size=pool_size,
            timeout_s=timeout_s,
        )
        self._engine: AsyncEngine = create_async_engine(
            f"{scheme.split('+')[0]}+psycopg://{rest}",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=timeout_s,
            pool_recycle=1800,
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
            connect_args={**options, "async_creator_fn": connector(silence_s)},
        )

    def fence_by(self, *, service: str, account: str, epoch: int) -> None:
        """Refuse from now on every transaction that is not of this holder of the desk."""
        self._fence = {
            "desk_service": service,
            "desk_account": account,
            "desk_epoch": epoch,
        }

    @property
    def fence(self) -> dict[str, Any]:
        """The parameters of FENCE, for a statement of the caller's own in `single`."""
        return self._fence

    async def own_connection(self) -> AsyncConnection:
        """Return a connection that is the caller's to close; each statement commits by itself.

        Raises UnavailableError.
        """
        with _translated():
            connection = await self._engine.connect()
            return await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def translated(self) -> AsyncIterator[None]:
        """Turn the driver's words for "not there" into UnavailableError, for `own_connection`."""
        with _translated():
            yield

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteSession]:
        """Open a transaction that commits at the end of the block.

        Raises UnavailableError when the database cannot be reached or goes away; whether the
        commit took place is then unknown, so what is done must bear being done again.
        """
        started = time.perf_counter()
        with _translated():
            async with self._engine.connect() as connection:
                # Said, not left to the pool: a reader that is cancelled while its connection goes
                # back may leave it read-only.
                await connection.execution_options(
                    isolation_level="READ COMMITTED", postgresql_readonly=False
                )
                async with connection.begin():
                    if self._fence["desk_epoch"] is not None:
                        await connection.execute(_FENCE, self._fence)
                    session = WriteSession(connection)
                    yield session
        DB_DURATION.labels("write").observe(time.perf_counter() - started)
        session.committed()

    @asynccontextmanager
    async def single(self) -> AsyncIterator[SingleSession]:
        """Open a session whose one statement is its own transaction: one round trip instead of
        three, where one server-side call does everything. Raises UnavailableError like `write`.
        A statement that decides something names `FENCE` with the parameters `fence`.
        """
        started = time.perf_counter()
        with _translated():
            async with self._singles.session() as session:
                yield session
        DB_DURATION.labels("write").observe(time.perf_counter() - started)
        session.committed()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """Open a read-only transaction. Raises UnavailableError."""
        started = time.perf_counter()
        with _translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                yield ReadSession(connection)
        DB_DURATION.labels("read").observe(time.perf_counter() - started)

    async def ping(self) -> None:
        """Raise UnavailableError unless the database answers."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        self._singles.close()
        await self._engine.dispose()


class _translated:
    """Turns SQLAlchemy's and the driver's words for "not there", "no room" or "not ready" into
    ours.

    The driver's own come from COPY, which SQLAlchemy does not know.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        cause = getattr(error, "orig", None) or error
        gone = isinstance(error, _GONE) or (
            isinstance(error, DBAPIError) and error.connection_invalidated
        )
        if gone or isinstance(cause, _NOT_READY):
            DB_FAILURES.inc()
            raise UnavailableError(f"database: {str(cause).splitlines()[0]}") from error
