"""Keeps watch over the chain: measures the backlog, verifies in the background, raises alarm."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from libs.common.contracts.channels import NOTIFICATIONS
from libs.common.contracts.messages import Notification
from libs.common.domain.vocabulary import Level
from libs.common.kernel.errors import ConflictError, UnavailableError
from libs.common.runtime.logging import get_logger
from libs.common.runtime.runtime import Runtime
from services.audit import metrics
from services.audit.adapters.chain_scan import Evidence, verify_chain
from services.audit.adapters.streams import StreamTail
from services.audit.anchors import AnchorError
from services.audit.evidence import Anchorage, anchors_broken
from services.audit.handlers import Recorder
from services.audit.logic import Verification
from services.audit.settings import AuditSettings
from services.audit.spans import ScanStoppedError

_log = get_logger(__name__)


class ChainGuard:
    """The background work of audit beside recording."""

    def __init__(
        self,
        runtime: Runtime,
        settings: AuditSettings,
        recorder: Recorder,
        tail: StreamTail,
        anchorage: Anchorage | None,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._recorder = recorder
        self._tail = tail
        self._anchorage = anchorage
        self._busy = asyncio.Lock()
        self._stopping = threading.Event()
        self._alarmed: set[str] = set()

    async def verify(self, first_seq: int = 1, last_seq: int | None = None) -> Verification:
        """Read the chain in a thread of its own. Raises ConflictError while another run goes on."""
        if self._busy.locked():
            raise ConflictError("a verification is running already")
        async with self._busy:
            found = await self._read(first_seq, last_seq)
        if found.broken is not None:
            broken = found.broken
            day = f" of {broken.day}" if broken.day else ""
            await self.alarm(
                broken.code,
                f"row {broken.seq}{day} of the audit log does not fit: {broken.code}, "
                f"expected {broken.expected}, found {broken.found}",
            )
        return found

    async def _read(self, first_seq: int, last_seq: int | None) -> Verification:
        url = self._settings.database_url.get_secret_value()
        try:
            evidence = self._anchorage.evidence() if self._anchorage else Evidence()
        except AnchorError as error:
            return anchors_broken(error)
        try:
            return await asyncio.to_thread(
                verify_chain, url, first_seq, last_seq, self._keep_going, evidence=evidence
            )
        except ScanStoppedError as error:
            raise UnavailableError("the service is stopping") from error

    async def measure(self) -> None:
        """Keep the backlog's figures fresh and see that the last row written still stands."""
        while True:
            try:
                for stream, backlog in (await self._tail.backlog()).items():
                    metrics.BACKLOG.labels(stream).set(backlog.messages)
                    metrics.LAG.labels(stream).set(backlog.age_s)
                if not await self._recorder.stands():
                    head = self._recorder.lost or self._recorder.head
                    await self.alarm(
                        "HEAD_GONE",
                        f"row {head.seq} of the audit log, written by this process with hash "
                        f"{head.hash}, is gone or changed",
                    )
            except UnavailableError as error:
                _log.warning("measure_waits", error=str(error))
            await asyncio.sleep(self._settings.audit_lag_s)

    async def patrol(self) -> str:
        """Verify the whole chain; return what came of it."""
        found = await self.verify()
        metrics.VERIFIED_ROWS.set(found.rows)
        _log.info("chain_verified", rows=found.rows, anchors=found.anchors, valid=found.valid)
        return f"{found.rows} rows, {found.anchors} anchors, valid: {found.valid}"

    async def stop(self) -> None:
        """Make a running verification end."""
        self._stopping.set()

    @property
    def _keep_going(self) -> Callable[[int], bool]:
        return lambda rows: not self._stopping.is_set()

    async def alarm(self, code: str, message: str) -> None:
        """Tell people, once a finding, that the chain is not what it was."""
        metrics.CHAIN_BROKEN.set(1)
        if message in self._alarmed:
            return
        _log.error("chain_broken", code=code, detail=message)
        runtime = self._runtime
        async with runtime.database.write() as tx:
            await runtime.outbox.add(
                tx,
                NOTIFICATIONS,
                Notification(
                    level=Level.CRITICAL,
                    title="The audit chain is broken",
                    message=message,
                    fingerprint=f"audit:{code}",
                    ts=runtime.clock.now(),
                    context={"code": code},
                ),
                correlation_id=runtime.ids.new(),
                key="audit",
            )
        self._alarmed.add(message)
