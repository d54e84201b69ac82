"""Every call of the API on record, beside the path that answers it.

A request pays for one tuple in a bounded queue. A few times a second a task of its own packs what
has gathered into messages of many calls for the audit log and stores them in the outbox. What a
process killed with SIGKILL had not stored yet, a second's calls at most while the database
answers, is missing. While the database is away calls gather up to a bound; beyond it they are
counted, and the count is put on record once there is room again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from fastapi.routing import APIRoute
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError
from starlette.types import Scope

from libs.common.contracts.channels import AUDIT_CALLS, AUDIT_OPERATIONS, Channel
from libs.common.contracts.messages import ApiCall, ApiCalls, AuditEvent, Payload
from libs.common.kernel.clock import Clock, from_ns
from libs.common.kernel.errors import UnavailableError
from libs.common.kernel.ids import IdSource
from libs.common.runtime.auth.principal import Principal, principal_in
from libs.common.runtime.bus import LogMessage
from libs.common.runtime.database import Database
from libs.common.runtime.logging import get_logger
from libs.common.runtime.outbox import Outbox

_log = get_logger(__name__)

RECORDED = Counter("api_calls_recorded_total", "Calls of the API put on record")
SHED = Counter("api_calls_shed_total", "Calls of the API that only their number is recorded of")

UNRECORDED_ROUTES: Final = frozenset({"/health", "/ready", "/metrics"})
CALLS_MAX: Final = 250
"""Calls in a message."""
BYTES_MAX: Final = 131_072
"""Bytes of calls in a message: the call that goes beyond is its last."""
SLICE: Final = 50
"""Calls that are encoded before others on the event loop have their turn."""
AGENT_CHARS_MAX: Final = 200
PATH_CHARS_MAX: Final = 300
_ENCODER: Final = msgspec.json.Encoder()
NOBODY: Final = "anonymous"
UNMATCHED: Final = "unmatched"


class Call(NamedTuple):
    """One answered request, as cheaply as it can be noted; `client` and `headers` as ASGI has
    them, read when the record is written."""

    ts_ns: int
    method: str
    route: str
    path: str
    status: int
    seconds: float
    correlation_id: uuid.UUID
    headers: Sequence[tuple[bytes, bytes]]
    client: tuple[str, int] | None
    principal: Principal | None


@dataclass
class _Gap:
    """Calls that there was no room for."""

    calls: int = 0
    since: dt.datetime | None = None

    def add(self, now: dt.datetime) -> None:
        self.calls += 1
        self.since = self.since or now


class CallRecorder:
    """Collects calls and puts them on record in batches."""

    def __init__(
        self,
        *,
        service: str,
        database: Database,
        outbox: Outbox,
        clock: Clock,
        ids: IdSource,
        every_s: float,
        calls_max: int,
    ) -> None:
        self._service = service
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._ids = ids
        self._every_s = every_s
        self._calls_max = calls_max
        self._calls: deque[Call] = deque()
        self._packed: list[ApiCall] = []
        self._packed_bytes = 0
        self._batch: list[LogMessage] = []
        self._calls_of_batch = 0
        self._tried = False
        self._gap = _Gap()
        self._routes: Sequence[APIRoute] = ()

    def know(self, routes: Sequence[APIRoute]) -> None:
        """Take the routes there are: who is not admitted does not get as far as the router."""
        self._routes = routes

    def note(
        self, scope: Scope, route: str, status: int, seconds: float, correlation_id: uuid.UUID
    ) -> None:
        """Remember an answered request; never waits."""
        if route in UNRECORDED_ROUTES:
            return
        if len(self._calls) >= self._calls_max:
            SHED.inc()
            self._gap.add(self._clock.now())
            return
        self._calls.append(
            Call(
                time.time_ns(),
                scope["method"],
                route,
                scope["path"],
                status,
                seconds,
                correlation_id,
                scope["headers"],
                scope.get("client"),
                principal_in(scope),
            )
        )

    async def run(self) -> None:
        """Put on record what gathers, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.flush()
            except UnavailableError as error:
                _log.warning("calls_wait", calls=len(self._calls), error=str(error))

    async def flush(self) -> None:
        """Put on record all that has gathered. Raises UnavailableError, and keeps it then."""
        while self._batch or self._packed or self._calls or self._gap.calls:
            if not self._batch:
                await self._fill()
            await self._store()
            RECORDED.inc(self._calls_of_batch)
            self._batch = []

    async def _fill(self) -> None:
        """Make the next message; it and the ids in it stay the same however often it must be
        stored. Who is cancelled meanwhile leaves what is packed to the next."""
        packed = self._packed
        while self._calls and len(packed) < CALLS_MAX and self._packed_bytes < BYTES_MAX:
            call = self._routed(self._calls.popleft())
            packed.append(
                ApiCall(
                    id=self._ids.new(),
                    correlation_id=call.correlation_id,
                    event=event_of(call, self._service),
                )
            )
            self._packed_bytes += len(_ENCODER.encode(packed[-1]))
            if len(packed) % SLICE == 0:
                await asyncio.sleep(0)
        if packed:
            self._add(AUDIT_CALLS, ApiCalls(calls=packed))
        self._calls_of_batch, self._packed, self._packed_bytes = len(packed), [], 0
        if self._gap.calls:
            gap, self._gap = self._gap, _Gap()
            self._add(AUDIT_OPERATIONS, self._gap_event(gap))
        self._tried = False

    def _add(self, channel: Channel, payload: Payload) -> None:
        self._batch.append(self._outbox.prepare(channel, payload, correlation_id=self._ids.new()))

    def _routed(self, call: Call) -> Call:
        if call.route != UNMATCHED:
            return call
        for route in self._routes:
            if call.method in (route.methods or ()) and route.path_regex.match(call.path):
                return call._replace(route=route.path)
        return call

    async def _store(self) -> None:
        again, self._tried = self._tried, True
        try:
            async with self._database.write() as tx:
                await self._outbox.store(tx, self._batch)
        except IntegrityError:
            if not again:
                raise
            # The attempt whose outcome was unknown had been committed: the sweeper publishes it.

    def _gap_event(self, gap: _Gap) -> AuditEvent:
        now = self._clock.now()
        return AuditEvent(
            event_type="ApiCallsNotRecorded",
            actor=self._service,
            action="shed",
            resource=f"service:{self._service}",
            outcome="lost",
            ts=now,
            details={
                "calls": str(gap.calls),
                "since": (gap.since or now).isoformat(),
                "until": now.isoformat(),
            },
        )


def event_of(call: Call, service: str) -> AuditEvent:
    """Return what goes on record of a call: who asked what of which route, and the outcome."""
    denied = call.status in (401, 403)
    details = {
        "service": service,
        "path": call.path[:PATH_CHARS_MAX] if call.route != UNMATCHED else "",
        "status": str(call.status),
        "latency_ms": f"{call.seconds * 1000:.3f}",
        "ip": call.client[0] if call.client else "",
        "user_agent": _header(call, b"user-agent")[:AGENT_CHARS_MAX],
    }
    return AuditEvent(
        event_type="PermissionDenied" if denied else "ApiCall",
        actor=NOBODY if call.principal is None else call.principal.actor,
        action=call.method,
        resource=call.route,
        outcome=_outcome(call.status),
        ts=from_ns(call.ts_ns),
        details={name: value for name, value in details.items() if value},
    )


def _outcome(status: int) -> str:
    if status in (401, 403):
        return "denied"
    return "ok" if status < 400 else "refused" if status < 500 else "failed"


def _header(call: Call, name: bytes) -> str:
    for key, value in call.headers:
        if key == name:
            return value.decode("latin-1")
    return ""
