"""Head and body of an answer in one packet, on a real server; what streams is not held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import websockets
from fastapi import FastAPI, WebSocket
from fastapi.responses import Response, StreamingResponse

from libs.common.runtime.joined import JoinedTransport, JoiningProtocol
from tests.support.runtimes import eventually

WITHIN_S = 30.0


def app_of(go_on: asyncio.Event) -> FastAPI:
    app = FastAPI()

    @app.get("/small")
    async def small() -> Response:
        return Response(b"small")

    @app.get("/nothing", status_code=204)
    async def nothing() -> None: ...

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            await go_on.wait()
            yield b"last"

        return StreamingResponse(parts())

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text(await connection.receive_text())
        await connection.close()

    return app


@asynccontextmanager
async def served(go_on: asyncio.Event) -> AsyncIterator[int]:
    config = uvicorn.Config(app_of(go_on), port=0, http=JoiningProtocol, log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started, what="a server")
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


async def ask(port: int, path: str, method: str = "GET") -> tuple[Any, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader, writer


@pytest.mark.parametrize(
    ("path", "method", "end"),
    [("/small", "GET", b"small"), ("/nothing", "GET", b"\r\n\r\n"), ("/no", "HEAD", b"\r\n\r\n")],
)
async def test_an_answer_is_whole_and_the_connection_stays(
    path: str, method: str, end: bytes
) -> None:
    async with served(asyncio.Event()) as port, asyncio.timeout(WITHIN_S):
        reader, writer = await ask(port, path, method)
        for _ in range(3):
            got = b""
            while not (got.startswith(b"HTTP/1.1 ") and got.endswith(end)):
                got += await reader.read(65_536)
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        writer.close()


async def test_a_stream_begins_before_it_ends() -> None:
    go_on = asyncio.Event()
    async with served(go_on) as port, asyncio.timeout(WITHIN_S):
        reader, writer = await ask(port, "/stream")
        assert await reader.readuntil(b"first")
        go_on.set()
        assert await reader.readuntil(b"last\r\n0\r\n\r\n")
        writer.close()


async def test_a_socket_is_not_joined() -> None:
    async with (
        served(asyncio.Event()) as port,
        asyncio.timeout(WITHIN_S),
        websockets.connect(f"ws://127.0.0.1:{port}/socket") as socket,
    ):
        await socket.send("there")
        assert await socket.recv() == "there"


class Wire:
    """Remembers what is written, and that it was closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.written.append(b"closed")

    def is_closing(self) -> bool:
        return self.written[-1:] == [b"closed"]

    def get_extra_info(self, name: str) -> str:
        return f"{name} of the wire"


async def test_two_writes_are_one_and_one_alone_leaves_with_the_turn_of_the_loop() -> None:
    wire = Wire()
    joined = JoinedTransport(wire, asyncio.get_running_loop())  # type: ignore[arg-type]
    joined.write(b"head ")
    joined.write(b"body")
    assert wire.written == [b"head body"]
    joined.write(b"alone")
    assert wire.written == [b"head body"]
    await asyncio.sleep(0)
    assert wire.written == [b"head body", b"alone"]
    joined.write(b"end")
    joined.close()
    assert wire.written[2:] == [b"end", b"closed"]
    assert joined.is_closing()
    assert joined.get_extra_info("peername") == "peername of the wire"
