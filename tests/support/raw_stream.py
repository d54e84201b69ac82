"""The simulator's trading stream as raw frames, for what a client library would hide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.simulator import Simulator


class RawStream:
    """A listening connection; reads one frame at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def frame(self, timeout_s: float = 10) -> str | bytes:
        """Return the next frame. Raises TimeoutError or ConnectionClosed."""
        return self._socket.recv(timeout=timeout_s)

    def update(self, timeout_s: float = 10) -> dict[str, Any]:
        """Return the data of the next trade update."""
        data: dict[str, Any] = json.loads(self.frame(timeout_s))["data"]
        return data

    def until(self, event: str) -> dict[str, Any]:
        """Return the data of the next update that tells `event`."""
        while True:
            data = self.update()
            if data["event"] == event:
                return data


@contextmanager
def raw_stream(simulator: Simulator, *, text: bool = True) -> Iterator[RawStream]:
    """Connect, authenticate and listen."""
    with connect(simulator.stream_url, max_size=None, compression=None, proxy=None) as socket:
        login = {"key_id": simulator.key, "secret_key": simulator.secret}
        for message in (
            {"action": "authenticate", "data": login},
            {"action": "listen", "data": {"streams": ["trade_updates"]}},
        ):
            said = json.dumps(message)
            socket.send(said if text else said.encode())
            socket.recv(timeout=10)
        yield RawStream(socket)
