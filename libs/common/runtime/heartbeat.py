"""The sign of life on `system.health`, and the one we ask of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from libs.common.contracts.channels import SYSTEM_HEALTH
from libs.common.contracts.envelope import seal
from libs.common.contracts.messages import Heartbeat
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.runtime import Runtime


async def beat(runtime: Runtime, figures: Callable[[], dict[str, float]] | None = None) -> None:
    """Publish a Heartbeat each `heartbeat_s` and at each change of readiness, until cancelled."""
    readiness = runtime.readiness
    while True:
        readiness.changed.clear()
        now = runtime.clock.now()
        payload = Heartbeat(
            service=runtime.name,
            instance=runtime.settings.instance,
            ready=readiness.ready,
            reasons=tuple(f"{part}: {reason}" for part, reason in readiness.reasons.items()),
            ts=now,
            started_at=runtime.started_at,
            figures=figures() if figures else {},
        )
        envelope = seal(
            payload,
            message_id=runtime.ids.new(),
            ts_ns=runtime.clock.now_ns(),
            source=runtime.name,
            correlation_id=runtime.ids.new(),
        )
        await runtime.bus.broadcast(SYSTEM_HEALTH, envelope)
        try:
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            async with asyncio.timeout(runtime.settings.heartbeat_s):
                await readiness.changed.wait()
        except TimeoutError:
            continue
        # A flapping part must not flood the bus.
        await asyncio.sleep(0.1)


async def watch_database(runtime: Runtime) -> None:
    """Ask the database each `heartbeat_s`; its silence or failure keeps the service from ready.

    An idle service would notice neither, and one that waits for an answer only at its time-out.
    """
    silence_s = runtime.settings.database_timeout_s
    while True:
        ping = asyncio.create_task(runtime.database.ping())
        try:
            _, silent = await asyncio.wait({ping}, timeout=silence_s)
            if silent:
                runtime.readiness.block("database", f"no answer for {silence_s:g} s")
            await asyncio.wait({ping})
            ping.result()
            runtime.readiness.clear("database")
        except UnavailableError as error:
            runtime.readiness.block("database", str(error).removeprefix("database: "))
        finally:
            ping.cancel()
        await asyncio.sleep(runtime.settings.heartbeat_s)
