"""One run from the first check to the last goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from infra.embedded import database, gateway, postgres, redis_server, state
from infra.embedded.errors import EmbeddedError
from infra.embedded.home import MEBIBYTE, Home
from infra.embedded.layout import STOP_ORDER
from infra.embedded.logs import LogFiles
from infra.embedded.plan import DATABASE, Plan, broker_symbols, http_not_ok
from infra.embedded.settings import Feed
from infra.embedded.state import RunState
from infra.embedded.supervisor import RestartPolicy, Supervisor
from infra.halt.switch import honour_mark
from infra.tls.files import Served
from libs.common.kernel.clock import Clock
from libs.common.runtime.settings import DEFAULT_SYMBOLS

READY_POLL_S = 0.25
DISK_POLL_S = 30.0
CERTIFICATE_POLL_S = 3600.0


@dataclass(slots=True)
class Journal:
    """What happened to the run: in `supervisor.log`, and told to a listener."""

    logs: LogFiles
    clock: Clock
    tell: Callable[[str, str], None]

    def __call__(self, level: str, text: str) -> None:
        """Note one event."""
        line = f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ} {level:7} {text}"
        try:
            with self.logs.path("supervisor").open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self.tell("error", f"supervisor.log cannot be written: {error}")
        self.tell(level, text)


class Runner:
    """Starts a plan's parts in order and stops them in order."""

    def __init__(
        self, plan: Plan, postgres_password: str, redis_password: str, journal: Journal
    ) -> None:
        self.plan = plan
        self.journal = journal
        self._postgres_password = postgres_password
        self._redis_password = redis_password
        policy = RestartPolicy(
            hung_probe_s=plan.settings.hung_probe_s, hung_misses=plan.settings.hung_misses
        )
        self.supervisor = Supervisor(journal.logs, self._report, journal.clock, policy)
        self._phase = "starting"
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Bring everything up; raises EmbeddedError at the first part that does not come."""
        served = await asyncio.to_thread(gateway.certificate, self.plan, self.journal.clock.now())
        self._write_state()
        self._chores = [
            asyncio.create_task(self.supervisor.rotate_logs()),
            asyncio.create_task(self._watch_disk()),
        ]
        await asyncio.gather(self._start_postgres(), self._start_redis())
        for group in self.plan.groups:
            await self.supervisor.start_all([self.plan.child(name) for name in group])
            await self._until_ready(group)
            if "broker_simulator" in group and self.plan.settings.feed is Feed.REPLAY:
                await self._take_symbols()
        await self.supervisor.start(gateway.child(self.plan, served))
        self._chores.append(asyncio.create_task(self._renew_certificate(served)))
        self._phase = "running"
        self._write_state()

    async def stop(self) -> None:
        """Take everything down in the order of the shutdown."""
        self._phase = "stopping"
        self._write_state()
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self.supervisor.stop_all(STOP_ORDER)
        self.plan.home.state_file.unlink(missing_ok=True)

    async def _start_postgres(self) -> None:
        directory = self.plan.home.data / "postgres"
        if not directory.exists():
            self.journal("info", f"making a new database under {directory}")
        cluster = await asyncio.to_thread(
            postgres.prepare, directory, self.plan.ports["postgres"], self._postgres_password
        )
        await self.supervisor.start(cluster.child(self.plan.home.run))
        await database.bring_up_to_date(
            cluster,
            DATABASE,
            self.plan.database_passwords,
            self.plan.service_keys,
            self.journal.logs,
        )
        self.journal("info", "the database is up to date")
        mark = await asyncio.to_thread(honour_mark, self.plan.home, cluster.url(DATABASE))
        if mark is not None:
            text = f"trading starts halted, as ordered at {mark.set_at}: {mark.reason}"
            self.journal("warning", text)

    async def _start_redis(self) -> None:
        given = self.plan.settings.redis_url
        if given:
            reason = await redis_server.not_ready(given)
            if reason is not None:
                raise EmbeddedError(
                    f"no Redis answers at TRADEWIND_REDIS_URL: {reason}",
                    "start it, correct the URL, or leave TRADEWIND_REDIS_URL away",
                )
            return
        server = redis_server.RedisServer(
            redis_server.find_binary(),
            self.plan.home.run / "redis",
            self.plan.ports["redis"],
            self._redis_password,
        )
        await self.supervisor.start(server.child())

    async def _take_symbols(self) -> None:
        """Trade what the replayed files hold, unless SYMBOLS chose from them."""
        if self.plan.settings.symbols:
            return
        plan = self.plan
        found = await broker_symbols(
            plan.url("broker_simulator"), plan.broker_key, plan.broker_secret
        )
        settings = plan.settings.model_copy(update={"symbols": found})
        self.plan = replace(plan, settings=settings)
        self.journal("info", f"the files hold {', '.join(found)}")

    async def _until_ready(self, names: tuple[str, ...]) -> None:
        """Wait until the services say they are ready; what takes too long is told, not fatal.

        A service that waits for something (a market that is closed, a broker that is away) says
        so under /ready and goes on by itself when it comes.
        """
        waiting = set(names)
        reasons: dict[str, str] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.plan.settings.ready_timeout_s):
                while waiting:
                    for name in sorted(waiting):
                        reason = await http_not_ok(f"{self.plan.url(name)}/ready")
                        if reason is None:
                            waiting.discard(name)
                        else:
                            reasons[name] = reason
                    await asyncio.sleep(READY_POLL_S)
        for name in sorted(waiting):
            self.journal("warning", f"{name} runs but is not ready: {reasons[name]}")

    async def _watch_disk(self) -> None:
        """Warn, once each time, when the disk gets as full as a start would refuse."""
        least_mb = self.plan.settings.free_mb_min
        was_low = False
        while True:
            free_mb = self.plan.home.free_mb()
            if free_mb < least_mb and not was_low:
                self.journal("error", f"the disk has {free_mb} MiB free, less than {least_mb} MiB")
            was_low = free_mb < least_mb
            await asyncio.sleep(DISK_POLL_S)

    async def _renew_certificate(self, served: Served) -> None:
        """Look each hour for a certificate that was renewed, by us or by its owner, and show it."""
        shown = served.content()
        while True:
            await asyncio.sleep(CERTIFICATE_POLL_S)
            now = self.journal.clock.now()
            try:
                served = await asyncio.to_thread(gateway.certificate, self.plan, now)
                if served.content() == shown:
                    continue
                shown = served.content()
                self.journal("info", f"a new certificate, until {served.ends:%Y-%m-%d}")
                await self.supervisor.stop("gateway")
                await self.supervisor.start(gateway.child(self.plan, served))
            except (EmbeddedError, OSError) as error:
                self.journal("error", f"the gateway's certificate was not renewed: {error}")

    def _report(self, level: str, text: str) -> None:
        self.journal(level, text)
        self._write_state()

    def _write_state(self) -> None:
        plan = self.plan
        children = {
            name: {
                "pid": record.pid,
                "created": 0.0 if record.pid is None else state.created(record.pid),
                "state": record.state.value,
                "restarts": record.restarts,
                "reason": record.reason,
            }
            for name, record in self.supervisor.records.items()
        }
        try:
            RunState(
                pid=os.getpid(),
                created=state.created(os.getpid()),
                phase=self._phase,
                books=plan.home.books,
                broker=plan.settings.broker.value,
                gateway=plan.url("gateway"),
                ports=plan.ports,
                symbols=plan.settings.symbols or DEFAULT_SYMBOLS,
                certificates=str(plan.home.tls),
                children=children,
            ).write(plan.home)
        except OSError as error:
            self.journal("error", f"{plan.home.state_file} cannot be written: {error}")


def log_files(home: Home, mb_max: int, parts: int) -> LogFiles:
    """Return the log files of `home`."""
    return LogFiles(home.logs, bytes_max=mb_max * MEBIBYTE, keep=parts)
