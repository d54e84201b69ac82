"""What every service is given: settings, clocks, ids, database, bus, outbox, readiness."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.api_keys import KeyAccess
from libs.common.runtime.auth.authenticator import Authenticator
from libs.common.runtime.auth.gate import Gate
from libs.common.runtime.auth.service_tokens import ServiceTokens
from libs.common.runtime.auth.store import read_facts
from libs.common.runtime.bus import Bus
from libs.common.runtime.clocks import MarketClock, SystemClock, Uuid7Ids
from libs.common.runtime.database import Database
from libs.common.runtime.endings import end_all
from libs.common.runtime.logging import get_logger
from libs.common.runtime.metrics import TASK_RESTARTS
from libs.common.runtime.outbox import Outbox
from libs.common.runtime.readiness import Readiness
from libs.common.runtime.resilience import pauses
from libs.common.runtime.settings import ServiceSettings

_log = get_logger(__name__)

_SETTLED_S: Final = 1.0


@dataclass(frozen=True)
class Runtime:
    """A service's surroundings. Making one opens no connection."""

    name: str
    settings: ServiceSettings
    clock: SystemClock
    market_clock: MarketClock
    ids: Uuid7Ids
    database: Database
    bus: Bus
    outbox: Outbox
    readiness: Readiness
    gate: Gate
    keys: KeyAccess
    tokens: ServiceTokens
    started_at: dt.datetime

    @classmethod
    def of(cls, name: str, settings: ServiceSettings) -> Runtime:
        """Return the surroundings of service `name`."""
        clock = SystemClock()
        ids = Uuid7Ids()
        readiness = Readiness()
        database = Database(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            timeout_s=settings.database_timeout_s,
            name=name,
        )
        bus = Bus(
            settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_s, name=name
        )
        keys = KeyAccess.of(name, settings, database=database, bus=bus, clock=clock, ids=ids)
        authenticator = Authenticator(partial(read_facts, database), clock, keys.desk)
        outbox = Outbox(
            source=name,
            database=database,
            bus=bus,
            clock=clock,
            ids=ids,
            readiness=readiness,
            sweep_s=settings.outbox_sweep_s,
            stream_days_max=settings.stream_days_max,
        )
        return cls(
            name=name,
            settings=settings,
            clock=clock,
            market_clock=MarketClock(settings.clock_url, settings.clock_poll_s),
            ids=ids,
            database=database,
            bus=bus,
            outbox=outbox,
            readiness=readiness,
            gate=Gate(authenticator, clock, settings.account_id),
            keys=keys,
            tokens=ServiceTokens(name, settings.service_key.get_secret_value(), clock),
            started_at=clock.now(),
        )

    async def close(self) -> None:
        """Close database and bus."""
        await self.keys.close()
        await self.bus.close()
        await self.database.close()


async def supervise(
    name: str, work: Callable[[], Coroutine[Any, Any, None]], readiness: Readiness
) -> None:
    """Run `work` until it returns; start it again, later and later, whenever it raises.

    The failure is logged once, counted, and shown in readiness until the work has run again for
    a second.
    """
    async for attempt in pauses(0.2, 10.0):
        if attempt:
            TASK_RESTARTS.labels(name).inc()
        task = asyncio.create_task(work(), name=name)
        try:
            done, _ = await asyncio.wait({task}, timeout=_SETTLED_S)
            if not done and name in readiness.reasons and not _starting(name):
                readiness.clear(name)
            # Not `await task`: that hands a cancellation down, and is stuck if it is swallowed.
            await asyncio.wait({task})
            task.result()
        except asyncio.CancelledError:
            await end_all([task])
            # It may have failed in the moment of its end; nobody is left to be told.
            task.cancelled() or task.exception()
            raise
        except UnavailableError as error:
            readiness.block(name, str(error))
            _log.warning("task_waits", task=name, error=str(error))
        except Exception as error:  # noqa: BLE001 - a task's edge: log once, start again
            readiness.block(name, f"{type(error).__name__}: {error}")
            _log.exception("task_failed", task=name)
        else:
            readiness.clear(name)
            return


def _starting(name: str) -> bool:
    # Start-up is done when it returns, not when it has run for a while.
    return name in {"start", "dependencies"}
