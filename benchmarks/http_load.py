"""A small closed-loop HTTP/1.1 load: N keep-alive connections, each asks again when answered."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import uvloop


@dataclass
class Load:
    """What a run of the load gave; latencies in ms."""

    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Return answered requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


def run_load(
    url: str,
    *,
    connections: int = 32,
    seconds: float = 5.0,
    trust: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Ask for `url` on `connections` connections for `seconds`; HTTPS is held against `trust`."""
    return uvloop.run(_run(url, connections, seconds, trust, headers or {}))


async def _run(
    url: str,
    connections: int,
    seconds: float,
    trust: ssl.SSLContext | None,
    headers: Mapping[str, str],
) -> Load:
    load = Load()
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{said}\r\n".encode()
    begin = time.perf_counter()
    deadline = begin + seconds
    await asyncio.gather(
        *(
            _connection(
                parts.hostname,
                parts.port,
                trust if parts.scheme == "https" else None,
                request,
                deadline,
                load,
            )
            for _ in range(connections)
        )
    )
    load.seconds = time.perf_counter() - begin
    return load


async def _connection(
    host: str,
    port: int,
    trust: ssl.SSLContext | None,
    request: bytes,
    deadline: float,
    load: Load,
) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=trust)
    try:
        while time.perf_counter() < deadline:
            begin = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await _body(reader, head)
            load.latencies_ms.append((time.perf_counter() - begin) * 1000)
            load.requests += 1
            if not head.startswith(b"HTTP/1.1 200"):
                load.errors += 1
    finally:
        writer.close()


async def _body(reader: asyncio.StreamReader, head: bytes) -> None:
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        while True:
            size = int((await reader.readuntil(b"\r\n")).strip(), 16)
            await reader.readexactly(size + 2)
            if size == 0:
                return
    at = lower.index(b"content-length:") + len(b"content-length:")
    await reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
