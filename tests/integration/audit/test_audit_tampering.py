"""Audit on real servers: rows can only be added, and what is changed all the same is seen."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from libs.common.runtime.database import Database
from services.audit.adapters.chain_scan import verify_chain
from services.audit.entries import entry_of
from services.audit.store import AuditStore
from services.audit.verify import main as verify_command
from tests.support.audit_rows import tamper
from tests.support.audit_service import (
    NOW,
    as_audit,
    audit_service,
    count,
    event,
    fill,
    recorded,
    send,
    whole,
)
from tests.support.runtimes import eventually, ready, serving
from tests.support.servers import ServerProcess

pytestmark = pytest.mark.slow


async def test_the_services_own_role_can_append_and_nothing_else(
    pg_server: ServerProcess, database_url: str
) -> None:
    url = as_audit(database_url)
    store = AuditStore(Database(url, pool_size=1, timeout_s=5, name="audit"))
    await store.append([entry_of(event(1).data, "audit.events", NOW)])
    assert verify_chain(url).rows == 1
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("UPDATE audit_log SET outcome = 'x'")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_log SET outcome = 'other' WHERE seq = 3",
        "DELETE FROM audit_log WHERE seq = 3",
        "TRUNCATE audit_log",
        "TRUNCATE audit_checkpoints CASCADE",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_even_a_superuser_is_refused_a_change(
    database_url: str, change: str, role: str
) -> None:
    await fill(database_url, 5)
    with psycopg.connect(database_url) as connection:
        connection.execute(f"SET session_replication_role = {role}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute(change)  # type: ignore[arg-type]
    assert whole(database_url) == 5


@pytest.mark.parametrize(
    ("change", "seq", "code"),
    [
        ("UPDATE audit_log SET outcome = 'refused' WHERE seq = 3", 3, "HASH_MISMATCH"),
        ("UPDATE audit_log SET details = '{}' WHERE seq = 4", 4, "HASH_MISMATCH"),
        ("UPDATE audit_log SET ip = '' WHERE seq = 2", 2, "HASH_MISMATCH"),
        ("UPDATE audit_log SET ts = ts + interval '1 us' WHERE seq = 5", 5, "HASH_MISMATCH"),
        ("UPDATE audit_log SET hash = sha256('x') WHERE seq = 3", 3, "HASH_MISMATCH"),
        ("DELETE FROM audit_log WHERE seq = 3", 4, "SEQ_GAP"),
        ("DELETE FROM audit_log WHERE seq = 1", 2, "SEQ_GAP"),
        ("UPDATE audit_log SET seq = 30 WHERE seq = 3", 4, "SEQ_GAP"),
    ],
)
async def test_tampering_is_found_at_its_row(
    database_url: str,
    redis_url: str,
    change: str,
    seq: int,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await fill(database_url, 6)
    tamper(database_url, change)
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        verdict = (await client.get("/api/v1/audit/verify")).json()
        await eventually(
            lambda: (
                count(
                    database_url, "SELECT count(*) FROM outbox WHERE stream = 'log:notifications'"
                )
                == 1
            ),
            what="an alarm",
        )
    assert verdict["valid"] is False
    assert (verdict["broken"]["seq"], verdict["broken"]["code"]) == (seq, code)
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", database_url)
    assert await asyncio.to_thread(verify_command, []) == 1
    assert f"row {seq}: {code}" in capsys.readouterr().err


async def test_a_chain_cut_off_at_its_end_is_noticed_by_its_writer(
    database_url: str, redis_url: str
) -> None:
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, [event(n) for n in range(4)])
        await recorded(database_url, 4)
        tamper(database_url, "DELETE FROM audit_log WHERE seq >= 4")
        # Though the writer goes on where the end is now.
        await send(redis_url, [event(9)])
        await recorded(database_url, 4)
        await eventually(
            lambda: (
                count(
                    database_url, "SELECT count(*) FROM outbox WHERE stream = 'log:notifications'"
                )
                == 1
            ),
            what="an alarm",
        )


async def test_verify_command_says_valid_and_unreachable(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(database_url, 3)
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", database_url)
    assert await asyncio.to_thread(verify_command, []) == 0
    assert "3 rows" in capsys.readouterr().err
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", "postgresql://x@127.0.0.1:9/none")
    assert await asyncio.to_thread(verify_command, ["--first", "2"]) == 2


async def test_a_part_of_the_chain_can_be_verified(database_url: str, redis_url: str) -> None:
    await fill(database_url, 10)
    tamper(database_url, "UPDATE audit_log SET actor = 'eve' WHERE seq = 2")
    async with serving(audit_service(database_url, redis_url)) as client:
        part = await client.get("/api/v1/audit/verify?first_seq=3&last_seq=7")
    assert (part.json()["valid"], part.json()["rows"], part.json()["broken"]) == (True, 5, None)
