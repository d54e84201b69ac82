"""A connection to PostgreSQL that does not wait for ever for a server that says nothing."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from psycopg import AsyncConnection, OperationalError


class BoundedConnection(AsyncConnection[Any]):
    """Is cut off when the server leaves one request unanswered for `silence_s` seconds.

    A server that is stopped or starved still holds its sockets: the kernel acknowledges for it,
    so neither keep-alives nor the server's own statement_timeout would ever end the wait.
    """

    silence_s: float

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait for the server as the driver does; raises OperationalError when it stays silent."""
        silent = False

        def cut() -> None:
            nonlocal silent
            silent = True
            # Of the driver's own socket only a copy: the driver closes it when it sees the end.
            with socket.socket(fileno=os.dup(self.pgconn.socket)) as copy:
                copy.shutdown(socket.SHUT_RDWR)

        timer = asyncio.get_running_loop().call_later(self.silence_s, cut)
        try:
            return await super().wait(*arguments, **options)
        except OperationalError as error:
            if silent:
                raise OperationalError(f"no answer for {self.silence_s:g} s") from error
            raise
        finally:
            timer.cancel()


def connector(silence_s: float) -> Callable[..., Awaitable[BoundedConnection]]:
    """Return a function that connects as the driver's own does."""
    kind = type("BoundedConnection", (BoundedConnection,), {"silence_s": silence_s})
    return partial(_connect, kind)


async def _connect(
    kind: type[BoundedConnection], *arguments: Any, **options: Any
) -> BoundedConnection:
    return await kind.connect(*arguments, **options)
