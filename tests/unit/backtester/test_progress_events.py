"""Who listens to a run's progress is cut off when they would not be let in any more."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from fastapi import FastAPI

from libs.common.contracts.envelope import seal
from libs.common.contracts.messages import Revocation
from libs.common.runtime.app import create_app
from libs.common.runtime.clocks import Uuid7Ids
from libs.common.runtime.runtime import Runtime
from services.backtester.api import router
from services.backtester.desk import Desk
from services.backtester.hub import Hub
from services.backtester.ports import Run, Runs, Status
from services.backtester.settings import BacktesterSettings
from tests.support.tokens import gate, headers_for

RUN = uuid.UUID(int=1)
USER = uuid.UUID(int=7)
PATIENCE_S = 30.0


class Running:
    """One run that goes on until it is told to end."""

    def __init__(self) -> None:
        self.status = Status.RUNNING

    async def get(self, run_id: uuid.UUID) -> Run:
        now = dt.datetime.now(dt.UTC)
        return Run(run_id, "backtest", self.status, {}, None, None, None, (), 1, now, now, None)


class Stage:
    """The service's app over one run."""

    def __init__(self) -> None:
        settings = BacktesterSettings()
        self.runs, self.hub = Running(), Hub()
        routes = router(cast(Runs, self.runs), cast(Desk, None), self.hub, Uuid7Ids(), settings)
        runtime = dataclasses.replace(Runtime.of("backtester", settings), gate=gate())
        self.app: FastAPI = create_app(runtime, routers=[routes])

    async def listen(self, headers: dict[str, str]) -> AsyncIterator[tuple[str, Any]]:
        """Ask for the events, and yield each with its data as it comes."""
        sent: asyncio.Queue[bytes | None] = asyncio.Queue()
        never = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if never.is_set():
                await asyncio.Event().wait()
            never.set()
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                assert message["status"] == 200, message
            else:
                await sent.put(message.get("body", b""))
                if not message.get("more_body"):
                    await sent.put(None)

        scope = {
            "type": "http", "method": "GET", "path": f"/api/v1/backtests/{RUN}/events",
            "raw_path": b"", "query_string": b"", "client": ("127.0.0.1", 1), "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip
        serving = asyncio.create_task(self.app(scope, receive, cast(Any, send)))
        try:
            while (block := await asyncio.wait_for(sent.get(), PATIENCE_S)) is not None:
                if block.startswith(b"event: "):
                    name, _, data = block.partition(b"\n")
                    yield name.removeprefix(b"event: ").decode(), msgspec.json.decode(data[6:])
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_stream_goes_on_until_the_run_has_ended(stage: Stage) -> None:
    names = []
    async for name, _ in stage.listen(headers_for("viewer")):
        names.append(name)
        stage.runs.status = Status.DONE
        stage.hub.end(RUN)
    assert names == ["progress", "end"]


async def test_a_stream_ends_with_the_token(stage: Stage) -> None:
    short = headers_for("viewer", ttl=dt.timedelta(seconds=1.5))
    told = [one async for one in stage.listen(short)]
    assert [name for name, _ in told] == ["progress", "denied"]
    assert told[-1][1]["code"] == "expired-token"


async def test_a_stream_ends_when_its_listener_is_revoked(stage: Stage) -> None:
    told = []
    async for one in stage.listen(headers_for("viewer", user_id=USER)):
        told.append(one)
        now = dt.datetime.now(dt.UTC)
        word = Revocation(subject=f"user:{USER}", revoked_at=now, expires_at=now)
        sealed = seal(
            word, message_id=uuid.uuid4(), ts_ns=0, source="security", correlation_id=uuid.uuid4()
        )
        await stage.app.state.gate.authenticator.hear(sealed)
    assert [name for name, _ in told] == ["progress", "denied"]
    assert told[-1][1]["code"] == "revoked"
