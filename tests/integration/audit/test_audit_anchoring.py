"""Anchors on a real database: made by the service, brought away, and held against the chain."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from libs.common.kernel.errors import UnavailableError
from services.audit.adapters.anchor_files import AnchorFiles
from services.audit.adapters.anchor_targets import Deliveries, GitTarget, PostTarget
from services.audit.adapters.chain_scan import Evidence, verify_chain
from services.audit.anchoring import Anchorer
from services.audit.anchors import AnchorKey
from services.audit.logic import Verification
from services.audit.main import build
from services.audit.settings import AuditSettings
from tests.support.audit_rows import (
    DAY,
    changed,
    cut,
    recompute,
    store_of,
    tamper,
    three_days,
)
from tests.support.line_listener import listening
from tests.support.runtimes import eventually, ready, serving
from tests.support.simulator import free_port

SEED = base64.urlsafe_b64encode(bytes(range(32))).decode()
KEY = AnchorKey.of(SEED)
NOW = DAY + dt.timedelta(days=2, hours=12)


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout


def verified(database_url: str, files: AnchorFiles, **how: int) -> Verification:
    evidence = Evidence(files.read([KEY.public]), files.hashes)
    return verify_chain(database_url, evidence=evidence, **how)  # type: ignore[arg-type]


def broken(database_url: str, files: AnchorFiles) -> tuple[str, int, str | None]:
    found = verified(database_url, files).broken
    assert found is not None
    return found.code, found.seq, found.day


async def anchored(database_url: str, folder: Path) -> AnchorFiles:
    store = store_of(database_url)
    await store.append(three_days())
    files = AnchorFiles(folder)
    await Anchorer(store, files, KEY).anchor(NOW)
    return files


async def test_what_was_done_to_the_chain_is_named_by_its_first_row_and_day(
    database_url: str, tmp_path: Path
) -> None:
    files = await anchored(database_url, tmp_path)
    whole = verified(database_url, files)
    assert (whole.valid, whole.rows, whole.anchors, whole.anchored_seq) == (True, 30, 3, 30)
    assert verified(database_url, files, jobs=2, span_rows=4) == whole
    assert verified(database_url, files, span_rows=7) == whole
    await recompute(database_url, changed(14))
    assert verify_chain(database_url).valid
    assert broken(database_url, files) == ("ANCHOR_MISMATCH", 14, "2026-11-19")
    # Who computes a part only anew is named by its first row, not by that where the chain breaks.
    tamper(database_url, "UPDATE audit_log SET outcome = 'x' WHERE seq = 16")
    assert verify_chain(database_url).broken is not None
    assert broken(database_url, files) == ("ANCHOR_MISMATCH", 14, "2026-11-19")
    await recompute(database_url, cut(14))
    assert broken(database_url, files) == ("ANCHORED_ROWS_GONE", 14, "2026-11-19")
    tamper(database_url, "UPDATE audit_log SET ts = ts - interval '1 h' WHERE seq = 3")
    assert broken(database_url, files) == ("HASH_MISMATCH", 3, "2026-11-18")
    assert verified(database_url, files, jobs=2, span_rows=4) == verified(database_url, files)
    tamper(database_url, "DELETE FROM audit_log WHERE seq = 2")
    assert broken(database_url, files) == ("SEQ_GAP", 3, "2026-11-18")


async def told_by_the_service(client: httpx.AsyncClient) -> dict[str, Any]:
    """Return what a verification finds; while the service's own goes on, ours is refused."""
    verdicts: list[dict[str, Any]] = []

    async def done() -> bool:
        answer = await client.get("/api/v1/audit/verify")
        if answer.status_code == 200:
            verdicts.append(answer.json())
        return bool(verdicts)

    await eventually(done, what="a verification of ours")
    return verdicts[0]


async def test_the_service_anchors_by_itself_and_brings_anchors_away(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    store = store_of(database_url)
    await store.append(three_days())
    repository = tmp_path / "repository"
    await asyncio.to_thread(git, "init", "-q", str(repository))
    port = free_port()
    settings = AuditSettings.model_validate(
        {
            "database_url": database_url,
            "redis_url": redis_url,
            "outbox_sweep_s": 0.1,
            "audit_key": SEED,
            "audit_anchors": str(tmp_path / "anchors"),
            "audit_anchor_git": str(repository),
            "audit_anchor_post_url": f"http://127.0.0.1:{port}/",
            "audit_anchor_s": 1.0,
            "audit_deliver_s": 0.5,
            "audit_verify_s": 0.5,
        }
    )
    files = AnchorFiles(tmp_path / "anchors")
    with listening(port) as received:
        async with serving(build(settings)) as client:
            await ready(client)
            await eventually(lambda: len(received) >= 3, within_s=30, what="anchors to be posted")
            verdict = await told_by_the_service(client)
            await eventually(lambda: runs(database_url) >= {"anchor", "deliver", "verify"})
    assert verdict["valid"] is True
    assert verdict["anchors"] >= 3
    assert received[:3] == files.lines()[:3]
    committed = await asyncio.to_thread(git, "-C", str(repository), "show", "HEAD:anchors.jsonl")
    assert files.path.read_bytes().startswith(committed)
    assert committed.count(b"\n") >= 3
    assert verified(database_url, files).valid


def runs(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT message FROM outbox WHERE stream = 'log:audit.operations'"
        ).fetchall()
    payloads = [json.loads(bytes(row[0]))["payload"] for row in rows]
    return {
        one["resource"].removeprefix("job:")
        for one in payloads
        if one["event_type"] == "JobRun" and one["outcome"] == "done"
    }


async def test_a_target_that_was_away_gets_what_it_missed(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    await asyncio.to_thread(git, "init", "-q", str(repository))
    port = free_port()
    lines = [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    deliveries = Deliveries(
        tmp_path, [PostTarget(f"http://127.0.0.1:{port}/"), GitTarget(repository)]
    )
    with pytest.raises(UnavailableError, match="post"):
        await deliveries.deliver(lines)
    assert deliveries.left(3) == {"post": 3, "git": 0}
    with listening(port) as received:
        assert await deliveries.deliver(lines) == ["post"]
        assert await deliveries.deliver(lines) == []
    assert received == lines
    (repository / "anchors.jsonl").write_text("forged\n")
    with pytest.raises(UnavailableError, match="not ours"):
        await deliveries.deliver([*lines, b"{}"])
