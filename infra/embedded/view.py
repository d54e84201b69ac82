"""The live view: what the system says about itself, read through the gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from rich.console import Console
from rich.live import Live

from infra.embedded.logs import LogFiles
from infra.embedded.state import RunState
from infra.embedded.view_panels import plain_line, screen
from infra.embedded.view_snapshot import Snapshot, collect
from infra.tls.trust import client_context

REFRESH_S = 1.0
PLAIN_REFRESH_S = 10.0
TIMEOUT_S = 3.0
LOG_LINES = 5


async def show(
    running: RunState,
    logs: LogFiles,
    console: Console,
    hint: str,
    auth: httpx.Auth | None = None,
) -> None:
    """Draw the view until cancelled; one line now and then where the output is no terminal.

    `hint` says what Ctrl-C does, `auth` who looks.
    """
    verify = client_context(Path(running.certificates), running.gateway)
    async with httpx.AsyncClient(
        base_url=running.gateway, auth=auth, timeout=TIMEOUT_S, trust_env=False, verify=verify
    ) as client:
        if console.is_terminal:
            await _draw(client, running, logs, console, hint)
        else:
            await _tell(client, running, console)


async def _draw(
    client: httpx.AsyncClient, running: RunState, logs: LogFiles, console: Console, hint: str
) -> None:
    # Drawing happens in a thread: a terminal stopped with Ctrl-S must not stop the supervisor.
    with Live(console=console, auto_refresh=False, screen=True) as live:
        seen = Snapshot()
        while True:
            seen = await collect(client, seen, running.symbols)
            tail = logs.tail("supervisor", LOG_LINES)
            drawing = screen(seen, running, tail.splitlines(), hint)
            await asyncio.to_thread(live.update, drawing, refresh=True)
            await asyncio.sleep(REFRESH_S)


async def _tell(client: httpx.AsyncClient, running: RunState, console: Console) -> None:
    seen = Snapshot()
    while True:
        seen = await collect(client, seen, running.symbols)
        console.print(plain_line(seen), markup=False, soft_wrap=True)
        await asyncio.sleep(PLAIN_REFRESH_S)
