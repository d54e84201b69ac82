"""`audit`: the hash-chained record of everything. `python -m services.audit.main` runs it."""

from __future__ import annotations

from fastapi import FastAPI

from libs.common.contracts.channels import LOG_CHANNELS
from libs.common.runtime.app import create_app, run
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.secrets import SecretBox
from services.audit.adapters.streams import StreamTail
from services.audit.api import router
from services.audit.evidence import Anchorage
from services.audit.guard import ChainGuard
from services.audit.handlers import Recorder
from services.audit.jobs import jobs_of
from services.audit.key_store import KeyStore
from services.audit.schedule import Schedule
from services.audit.sealing import Sealer
from services.audit.settings import AuditSettings
from services.audit.store import AuditStore
from services.audit.story_store import StoryStore

NAME = "audit"


def build(settings: AuditSettings) -> FastAPI:
    """Wire the service."""
    # Recording needs no market time, so it does not wait for a broker's clock.
    runtime = Runtime.of(NAME, settings.model_copy(update={"clock_url": ""}))
    store = AuditStore(runtime.database)
    sealed = bool(settings.encryption_keys.get_secret_value())
    keys = KeyStore(runtime.database)
    sealer = Sealer(keys, SecretBox.of(settings)) if sealed else None
    recorder = Recorder(store, runtime.clock, sealer)
    tail = StreamTail(
        runtime.bus,
        [channel.stream for channel in LOG_CHANNELS],
        group=NAME,
        consumer=settings.instance,
        readiness=runtime.readiness,
        batch=settings.audit_batch,
        block_ms=settings.audit_block_ms,
        gather_s=settings.audit_gather_ms / 1000,
        claim_idle_s=settings.claim_idle_s,
    )
    anchorage = Anchorage.of(settings)
    guard = ChainGuard(runtime, settings, recorder, tail, anchorage)
    schedule = Schedule(runtime, jobs_of(runtime, settings, anchorage, store, guard, sealer))
    return create_app(
        runtime,
        routers=[router(store, StoryStore(runtime.database), guard, sealer)],
        tasks=[
            ("record", lambda: tail.run(recorder.record)),
            ("measure", guard.measure),
            ("schedule", schedule.run),
        ],
        stop=[guard.stop],
        figures=lambda: {"audit_head_seq": float(recorder.head.seq)},
    )


if __name__ == "__main__":
    run(NAME, AuditSettings, build)
