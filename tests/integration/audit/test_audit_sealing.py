"""Personal data in the record: sealed, found by those who may, erased without a broken hash."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from libs.common.contracts.channels import AUDIT_EVENTS
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import AuditEvent
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.clocks import SystemClock
from libs.common.runtime.database import Database
from libs.common.runtime.secrets import SecretBox, UnreadableError, new_key
from services.audit.adapters.chain_scan import verify_chain
from services.audit.entries import entry_of
from services.audit.handlers import Recorder
from services.audit.key_store import KeyStore
from services.audit.main import build
from services.audit.ports import Delivery
from services.audit.sealing import ERASED, DataKey, Sealer, period_of, sealed
from services.audit.settings import AuditSettings
from services.audit.store import AuditStore
from tests.support.runtimes import eventually, ready, serving

PERSONAL = {
    "ip": "203.0.113.77",
    "user_agent": "Netscape Navigator 4.08",
    "email": "ada@example.org",
    "display_name": "Ada Lovelace",
}


def login(**details: str) -> LogMessage:
    clock = SystemClock()
    payload = AuditEvent(
        event_type="Login", actor="user:ada", action="login", resource="session:1",
        outcome="ok", ts=clock.now(), details={**PERSONAL, "way": "password", **details},
    )  # fmt: skip
    envelope = seal(
        payload, message_id=uuid.uuid4(), ts_ns=clock.now_ns(), source="security",
        correlation_id=uuid.uuid4(),
    )  # fmt: skip
    return LogMessage(envelope.id, AUDIT_EVENTS.name(), "log:audit.events", encode(envelope))


def everything(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        return str(connection.execute("SELECT * FROM audit_log").fetchall())


async def test_sealed_details_are_read_and_searched_by_those_who_may(
    database_url: str, redis_url: str
) -> None:
    settings = AuditSettings.model_validate(
        {"database_url": database_url, "redis_url": redis_url, "encryption_keys": new_key()}
    )
    bus = Bus(redis_url, timeout_s=5, name="test")
    await bus.append([login(), login(ip="198.51.100.1"), login()])
    await bus.close()
    async with serving(build(settings)) as client:
        await ready(client)
        path = "/api/v1/audit/events"

        async def items(where: str) -> list[dict[str, Any]]:
            answer = await client.get(where, params={"event_type": "Login"})
            assert answer.status_code == 200, answer.text
            found: list[dict[str, Any]] = answer.json()["items"]
            return found

        async def recorded() -> bool:
            return len(await items(path)) == 3

        await eventually(recorded, what="three rows")
        plain = await items(path)
        revealed = await items(f"{path}/sensitive")
        by_ip = await client.get(f"{path}/sensitive", params={"ip": PERSONAL["ip"]})
        by_text = await client.get(path, params={"text": 'WAY":"pass'})
        nothing = await client.get(path, params={"text": "100%_sure"})
    assert not any(value in str(plain) for value in PERSONAL.values())
    assert plain[0]["ip"].startswith("enc1:")
    assert {**revealed[0]["details"]["payload"]["details"]} == {**PERSONAL, "way": "password"}
    assert revealed[0]["ip"] == PERSONAL["ip"]
    assert len(by_ip.json()["items"]) == 2
    assert len(by_text.json()["items"]) == 3
    assert nothing.json() == {"items": [], "next": None}
    assert not any(value in everything(database_url) for value in PERSONAL.values())
    assert verify_chain(database_url).valid


async def test_rotated_and_erased_keys_leave_the_chain_as_it_is(database_url: str) -> None:
    database = Database(database_url, pool_size=2, timeout_s=10, name="test")
    store, keys = AuditStore(database), KeyStore(database)
    old, new = new_key(), new_key()
    message = login()
    delivery = Delivery("log:audit.events", "1-0", message.data)
    await Recorder(store, SystemClock(), Sealer(keys, SecretBox([old]))).record([delivery])
    head = verify_chain(database_url).head
    both = Sealer(keys, SecretBox([new, old]))
    assert await both.rotate() == 1
    assert await both.rotate() == 0
    rotated = Sealer(keys, SecretBox([new]))
    await rotated.load()
    token = token_of(database_url)
    assert rotated.revealed({"ip": token}) == {"ip": PERSONAL["ip"]}
    # With keys that do not open it nothing is recorded rather than recorded in the clear.
    lost = Recorder(store, SystemClock(), Sealer(keys, SecretBox([new_key()])))
    with pytest.raises(UnavailableError, match="cannot be decrypted"):
        await lost.record([delivery])
    now = SystemClock().now()
    assert await keys.erase(period_of(now), "person:ann", now)
    assert not await keys.erase(period_of(now), "person:ann", now)
    await rotated.load()
    assert rotated.revealed({"ip": token}) == {"ip": ERASED}
    assert verify_chain(database_url).head == head
    await database.close()
    # Who forgot stands on record: once, since the second time there was nothing to forget.
    with psycopg.connect(database_url) as connection:
        ((said,),) = connection.execute("SELECT message FROM outbox").fetchall()
    erased = entry_of(bytes(said), "audit.events", now)
    assert (erased.actor, erased.action, erased.outcome) == ("person:ann", "forget", "erased")
    assert erased.resource == f"audit_key:{period_of(now)}"


def token_of(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT ip FROM audit_log").fetchone()
    assert row is not None
    return str(row[0])


def test_a_token_belongs_to_its_field_and_its_month() -> None:
    key, other = DataKey("2026-11", bytes(64)), DataKey("2026-11", bytes([1]) * 64)
    token = key.seal("ip", "10.0.0.1")
    assert token == key.seal("ip", "10.0.0.1")
    assert token != key.seal("user_agent", "10.0.0.1")
    for wrong in (lambda: key.open("user_agent", token), lambda: other.open("ip", token)):
        with pytest.raises(UnreadableError):
            wrong()
    with pytest.raises(UnreadableError):
        key.open("ip", "enc1:2026-11:!!!")


def test_personal_details_are_sealed_at_any_depth() -> None:
    key = DataKey("2026-11", bytes(64))
    given = {"a": [{"email": "x@y"}], "ip": "", "actor": "ada", "phone": 5}
    found = sealed(given, key)
    assert key.open("email", found["a"][0]["email"]) == "x@y"
    assert (found["ip"], found["actor"], found["phone"]) == ("", "ada", 5)
    assert sealed(given, None)["a"] == [{"email": "***"}]
