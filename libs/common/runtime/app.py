"""The app factory: one shape for every service, and the function that runs it."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import msgspec
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from libs.common.contracts.channels import SECURITY_REVOCATIONS
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.runtime.auth.gate import Gatekeeper
from libs.common.runtime.consumers import (
    BroadcastListener,
    BroadcastReader,
    DeadLetterHook,
    LogConsumer,
    LogReader,
)
from libs.common.runtime.deployment import announce, announce_stop
from libs.common.runtime.forwarded import GatewayHeaders
from libs.common.runtime.heartbeat import beat, watch_database
from libs.common.runtime.joined import JoiningProtocol
from libs.common.runtime.logging import configure_logging, get_logger
from libs.common.runtime.middleware import RequestFrame
from libs.common.runtime.openapi import READINESS, ServiceApp
from libs.common.runtime.permissions import (
    PUBLIC,
    check_permissions,
    public_paths,
    requires,
    routes_of,
)
from libs.common.runtime.problems import install_problem_handlers
from libs.common.runtime.recording import CallRecorder
from libs.common.runtime.runtime import Runtime, supervise
from libs.common.runtime.secrets import UnreadableError
from libs.common.runtime.settings import ServiceSettings
from libs.common.runtime.tenure import Tenure
from libs.common.runtime.throttle import Throttle
from libs.common.runtime.watchdog import WatchedServer

_log = get_logger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]
S = TypeVar("S", bound=ServiceSettings)


def create_app(
    runtime: Runtime,
    *,
    routers: Sequence[APIRouter] = (),
    start: Sequence[Work] = (),
    stop: Sequence[Work] = (),
    consumers: Sequence[LogConsumer[Any]] = (),
    listeners: Sequence[BroadcastListener[Any]] = (),
    tasks: Sequence[tuple[str, Work]] = (),
    figures: Callable[[], dict[str, float]] | None = None,
    on_dead: DeadLetterHook | None = None,
    sole: bool = False,
) -> FastAPI:
    """Return the service's app.

    Serving begins at once (`/health` answers); then, in order: database and Redis are awaited,
    the market clock is synchronised, the `start` hooks run (each again until it succeeds), and
    consumers, listeners and tasks begin. `/ready` is 503 with reasons until all that is done and
    whenever a part of it breaks. At shutdown the readers stop, the `stop` hooks run in order and
    the outbox is drained. With `sole` one process of the service works for an account: the others
    stand by, before their `start` hooks, until its desk is free (see `tenure`).

    Raises InvalidInputError for a route without a permission.
    """

    tenure = Tenure(
        runtime.database,
        runtime.readiness,
        service=runtime.name,
        account_id=runtime.settings.account_id,
        instance=runtime.settings.instance,
        lease_s=runtime.settings.desk_lease_s,
    )

    calls = CallRecorder(
        service=runtime.name,
        database=runtime.database,
        outbox=runtime.outbox,
        clock=runtime.clock,
        ids=runtime.ids,
        every_s=runtime.settings.call_records_s,
        calls_max=runtime.settings.call_records_max,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(_run_parts(), name=f"{runtime.name} parts")
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await _shut_down(runtime, [*stop, calls.flush, lambda: announce_stop(runtime)], tenure)

    async def begin() -> None:
        await runtime.database.ping()
        await runtime.bus.ping()
        if sole:
            await tenure.take()
        for hook in start:
            await hook()

    async def _run_parts() -> None:
        parts: list[tuple[str, Work]] = [("outbox task", runtime.outbox.run)]
        parts += [("market clock", runtime.market_clock.run)]
        parts += [("database watch", lambda: watch_database(runtime))]
        parts += [("access facts", runtime.gate.authenticator.watch)]
        parts += [("API keys", runtime.keys.run)]
        parts += [("heartbeat", lambda: beat(runtime, figures))]
        parts += [("call records", calls.run)]
        async with asyncio.TaskGroup() as group:
            for name, work in parts:
                group.create_task(supervise(name, work, runtime.readiness), name=name)
            await supervise("dependencies", _await_clock, runtime.readiness)
            await supervise("start", begin, runtime.readiness)
            # What stands now stays until the end: walking it in every full collection would stop
            # the service for tens of milliseconds, an order with it.
            gc.collect()
            gc.freeze()
            runtime.readiness.clear("start")
            _log.info("service_started", service=runtime.name)
            after = [("desk", tenure.watch)] if sole else []
            after += [("deployment", lambda: announce(runtime))]
            after += _readers(runtime, consumers, [*listeners, _revocations(runtime)], on_dead)
            for name, work in after + list(tasks):
                group.create_task(supervise(name, work, runtime.readiness), name=name)

    async def _await_clock() -> None:
        if not runtime.market_clock.synchronised:
            async with httpx.AsyncClient(trust_env=False) as client:
                await runtime.market_clock.synchronise(client)

    app = ServiceApp(
        title=f"Tradewind {runtime.name}",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.add_middleware(Gatekeeper, gate=runtime.gate)
    app.add_middleware(
        RequestFrame,
        ids=runtime.ids,
        calls=calls,
        throttle=Throttle(
            per_second=runtime.settings.requests_per_second,
            caller_per_second=runtime.settings.caller_requests_per_second,
            at_once=runtime.settings.requests_at_once,
        ),
        body_bytes_max=runtime.settings.body_bytes_max,
        body_timeout_s=runtime.settings.body_timeout_s,
    )
    install_problem_handlers(app)
    for router in (_operations(runtime), *routers):
        # Not `include_router`: what it keeps whole is searched twice for each request.
        app.router.routes.extend(router.routes)
    check_permissions(app)
    runtime.gate.open(public_paths(app))
    calls.know(routes_of(app))
    app.state.gate = runtime.gate
    app.state.runtime = runtime
    return app


def _revocations(runtime: Runtime) -> BroadcastListener[Any]:
    return BroadcastListener(SECURITY_REVOCATIONS, runtime.gate.authenticator.hear)


def _readers(
    runtime: Runtime,
    consumers: Sequence[LogConsumer[Any]],
    listeners: Sequence[BroadcastListener[Any]],
    on_dead: DeadLetterHook | None,
) -> list[tuple[str, Work]]:
    settings = runtime.settings
    parts: list[tuple[str, Work]] = []
    for consumer in consumers:
        log = LogReader(
            runtime.bus,
            consumer,
            service=runtime.name,
            instance=settings.instance,
            readiness=runtime.readiness,
            claim_idle_s=settings.claim_idle_s,
            deliveries_max=settings.deliveries_max,
            on_dead=on_dead,
        )
        parts.append((f"consumer {consumer.channel.topic}", log.run))
    for listener in listeners:
        broadcast = BroadcastReader(runtime.bus, listener, readiness=runtime.readiness)
        parts.append((f"listener {listener.channel.topic}", broadcast.run))
    return parts


async def _shut_down(runtime: Runtime, stop: Sequence[Work], tenure: Tenure) -> None:
    for hook in stop:
        try:
            await asyncio.wait_for(hook(), runtime.settings.shutdown_timeout_s)
        except (UnavailableError, TimeoutError) as error:
            _log.warning("stop_hook_gave_up", error=str(error) or type(error).__name__)
        except Exception:  # noqa: BLE001 - one hook's failure must not keep the others from running
            _log.exception("stop_hook_failed")
    try:
        await asyncio.wait_for(runtime.outbox.drain(), runtime.settings.shutdown_timeout_s)
    except (UnavailableError, TimeoutError) as error:
        _log.warning("outbox_not_drained", error=str(error))
    await tenure.release()
    await runtime.close()
    _log.info("service_stopped", service=runtime.name)


def _operations(runtime: Runtime) -> APIRouter:
    router = APIRouter(tags=["operations"], dependencies=[requires(PUBLIC, any_query=True)])

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Tell that the process is alive."""
        return {"status": "alive", "service": runtime.name}

    @router.get("/ready", responses=READINESS)
    async def ready() -> Response:
        """Tell whether the service can work: 200, or 503 with the reasons."""
        body = {
            "status": "ready" if runtime.readiness.ready else "not ready",
            "service": runtime.name,
            "reasons": runtime.readiness.reasons,
        }
        return json_response(body, status=200 if runtime.readiness.ready else 503)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Return the figures in Prometheus' text format."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


_ENCODER = msgspec.json.Encoder()


def json_response(value: Any, *, status: int = 200) -> Response:
    """Return `value` (structs, dicts, decimals as strings) as a JSON answer."""
    return Response(_ENCODER.encode(value), status_code=status, media_type="application/json")


def load_settings(kind: type[S]) -> S:
    """Read settings from the environment; on bad ones say which and why, and exit with 2."""
    try:
        return kind()
    except ValidationError as error:
        for item in error.errors():
            name = "TRADEWIND_" + "_".join(str(part) for part in item["loc"]).upper()
            print(f"{name}: {item['msg']}", file=sys.stderr)  # noqa: T201
    except SettingsError as error:
        print(f"settings: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(2)


def run(
    name: str,
    kind: type[S],
    build: Callable[[S], FastAPI],
    *,
    complete: Callable[[S], S] | None = None,
) -> None:
    """Read the settings, build the app and serve it until SIGTERM or Ctrl-C.

    `complete` adds to the settings what only the database knows.
    """
    settings = load_settings(kind)
    configure_logging(name, settings.log_level)
    try:
        app = build(settings if complete is None else complete(settings))
    except (InvalidInputError, UnavailableError, UnreadableError) as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    listener = _bind(name, settings.host, settings.port)
    end_cleanly_on_signals()
    config = uvicorn.Config(
        GatewayHeaders(app, settings.trusted_gateway),
        log_config=None,
        access_log=False,
        loop="uvloop",
        http=JoiningProtocol,
        timeout_graceful_shutdown=round(settings.shutdown_timeout_s),
        server_header=False,
        proxy_headers=False,  # GatewayHeaders knows gateways by name too
        backlog=1024,
    )
    WatchedServer(config, settings.loop_blocked_s_max).run(sockets=[listener])


def end_cleanly_on_signals() -> None:
    """Make SIGTERM and Ctrl-C a clean exit: uvicorn raises them again when it has shut down."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))


def _bind(name: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        print(  # noqa: T201
            f"{name}: cannot listen on {host}:{port}: {error.strerror or error}", file=sys.stderr
        )
        sys.exit(3)
    return listener
