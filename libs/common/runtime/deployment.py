"""Which version of a service starts with which settings: on record at each start, and what changed.

`version` is the package's, with a fingerprint of the code that runs: the same release with a line
patched in place is another version. Settings are compared and recorded without their secrets.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from libs.common.contracts.channels import AUDIT_OPERATIONS
from libs.common.contracts.messages import AuditEvent
from libs.common.runtime.runtime import Runtime
from libs.common.runtime.schema.deployments import deployments
from libs.common.runtime.settings import ServiceSettings

MASK: Final = "***"
ROOT: Final = Path(__file__).resolve().parents[3]
_BUILD_CHARS: Final = 12
_SECRET: Final = re.compile(r"password|secret|token|api_key|_key$", re.IGNORECASE)
_USER_INFO: Final = re.compile(r"//[^/@\s]*@")
# What says where a process runs, not how it is set up.
_PLACE: Final = frozenset({"instance", "host", "port"})


async def announce(runtime: Runtime) -> None:
    """Put a start on record, and what differs from the start before. Raises UnavailableError."""
    version = await asyncio.to_thread(version_of, runtime.name)
    shown = masked(runtime.settings)
    row = {
        "service": runtime.name,
        "instance": runtime.settings.instance,
        "version": version,
        "fingerprint": fingerprint(shown),
        "settings": shown,
        "run": runtime.ids.new(),
        "started_at": runtime.started_at,
    }
    keys = deployments.c.service, deployments.c.instance
    async with runtime.database.write() as tx:
        before = await tx.row(
            select(deployments).where(
                deployments.c.service == row["service"], deployments.c.instance == row["instance"]
            )
        )
        if before is not None and before["started_at"] >= runtime.started_at:
            return
        await tx.execute(
            insert(deployments).values(row).on_conflict_do_update(index_elements=keys, set_=row)
        )
        correlation_id = runtime.ids.new()
        for event in events(runtime, None if before is None else dict(before), row):
            await runtime.outbox.add(tx, AUDIT_OPERATIONS, event, correlation_id=correlation_id)


def events(
    runtime: Runtime, before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> list[AuditEvent]:
    """Return the start and, where there was one before that differs, the changes."""
    found = [_event(runtime, "ServiceStarted", "start", "started", _started(now))]
    if before is None:
        return found
    if before["version"] != now["version"]:
        details = {"before": before["version"], "after": now["version"]}
        found.append(_event(runtime, "Deployed", "deploy", "changed", details))
    if before["fingerprint"] != now["fingerprint"]:
        old, new = before["settings"], now["settings"]
        details = {
            name: json.dumps([old.get(name), new.get(name)])
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        }
        found.append(_event(runtime, "ConfigurationChanged", "configure", "changed", details))
    return found


async def announce_stop(runtime: Runtime) -> None:
    """Put a stop in good order on record."""
    async with runtime.database.write() as tx:
        await runtime.outbox.add(
            tx,
            AUDIT_OPERATIONS,
            _event(runtime, "ServiceStopped", "stop", "stopped", {}),
            correlation_id=runtime.ids.new(),
        )


def masked(settings: ServiceSettings) -> dict[str, Any]:
    """Return the settings as JSON takes them, `***` for every secret that is set."""
    plain = settings.model_dump(mode="json")
    shown = {}
    for name, value in plain.items():
        if name in _PLACE:
            continue
        kept = getattr(settings, name)
        if isinstance(kept, SecretStr):
            shown[name] = MASK if kept.get_secret_value() else ""
        elif _SECRET.search(name) and value:
            shown[name] = MASK
        else:
            shown[name] = _USER_INFO.sub(f"//{MASK}@", value) if isinstance(value, str) else value
    return shown


def fingerprint(shown: Mapping[str, Any]) -> str:
    """Return the SHA-256 of masked settings: that a secret was changed cannot be seen in it."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def version_of(service: str) -> str:
    """Return the package's version and a fingerprint of the code: `0.1.0+1f0c2b7a9e4d`."""
    code = hashlib.sha256()
    for folder in (ROOT / "libs", ROOT / "services" / service):
        for path in sorted(folder.rglob("*.py")):
            code.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
            code.update(path.read_bytes())
    try:
        release = importlib.metadata.version("tradewind")
    except importlib.metadata.PackageNotFoundError:
        release = "0"
    return f"{release}+{code.hexdigest()[:_BUILD_CHARS]}"


def _started(now: Mapping[str, Any]) -> dict[str, str]:
    return {
        "version": now["version"],
        "fingerprint": now["fingerprint"],
        "settings": json.dumps(now["settings"], sort_keys=True),
    }


def _event(
    runtime: Runtime, kind: str, action: str, outcome: str, details: dict[str, str]
) -> AuditEvent:
    return AuditEvent(
        event_type=kind,
        actor=runtime.name,
        action=action,
        resource=f"service:{runtime.name}/{runtime.settings.instance}",
        outcome=outcome,
        ts=runtime.clock.now(),
        details=details,
    )
