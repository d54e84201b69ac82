"""Monitoring on real servers: heartbeats, alerts, Gotify, dead letters."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from libs.common.contracts.channels import (
    DEAD_LETTERS,
    NOTIFICATIONS,
    RISK_ALERTS,
    SYSTEM_HEALTH,
    Channel,
)
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import Heartbeat, Notification, Payload, RiskAlert
from libs.common.domain.vocabulary import Level
from libs.common.runtime.bus import Bus, LogMessage
from libs.common.runtime.clocks import Uuid7Ids
from services.monitoring.alerts import fingerprint_of
from services.monitoring.main import build
from services.monitoring.settings import MonitoringSettings
from tests.support.gotify_server import TOKEN, GotifyStandIn, gotify_server
from tests.support.runtimes import eventually, ready, serving
from tests.support.servers import ServerProcess
from tests.support.tokens import headers_for

pytestmark = pytest.mark.slow

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
IDS = Uuid7Ids()
BASE = "/api/v1/monitoring"


@pytest.fixture
def gotify() -> Iterator[GotifyStandIn]:
    with gotify_server() as server:
        yield server


def service(database_url: str, redis_url: str, gotify_url: str = "", **changes: Any) -> FastAPI:
    return build(
        MonitoringSettings.model_validate(
            {
                "database_url": database_url,
                "redis_url": redis_url,
                "outbox_sweep_s": 0.1,
                "heartbeat_s": 0.2,
                "claim_idle_s": 1.0,
                "monitoring_services": ("portfolio", "monitoring"),
                "monitoring_check_s": 0.05,
                "monitoring_stale_s": 0.8,
                "monitoring_down_s": 1.6,
                "monitoring_first_s": 60.0,
                "monitoring_settle_s": 0.0,
                "gotify_url": gotify_url,
                "gotify_token": TOKEN,
                "gotify_delay_s": 0.01,
                "gotify_delay_s_max": 0.05,
                "gotify_attempts_max": 100,
                **changes,
            }
        )
    )


def message(channel: Channel, payload: Payload, key: str = "", source: str = "test") -> LogMessage:
    envelope = seal(
        payload, message_id=IDS.new(), ts_ns=1, source=source, correlation_id=uuid.uuid4()
    )
    return LogMessage(envelope.id, channel.name(key), channel.stream, encode(envelope))


def note(level: Level, fingerprint: str = "f", title: str = "Trouble") -> LogMessage:
    payload = Notification(
        level=level, title=title, message="what and where", fingerprint=fingerprint, ts=NOW
    )
    return message(NOTIFICATIONS, payload, "test", "trade_executor")


async def send(redis_url: str, *messages: LogMessage) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    await bus.append(messages)
    await bus.close()


async def beat(redis_url: str, *reasons: str, started_at: dt.datetime = NOW) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    heartbeat = Heartbeat(
        service="portfolio", instance="0", ready=not reasons, reasons=reasons, ts=NOW,
        started_at=started_at, figures={"equity": 5.0},
    )  # fmt: skip
    envelope = seal(
        heartbeat, message_id=IDS.new(), ts_ns=1, source="portfolio", correlation_id=IDS.new()
    )
    await bus.broadcast(SYSTEM_HEALTH, envelope)
    await bus.close()


async def alerts(client: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"{BASE}/alerts{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def state_of(client: httpx.AsyncClient, name: str) -> str:
    services = (await client.get(f"{BASE}/health")).json()["services"]
    return next((str(s["state"]) for s in services if s["service"] == name), "unseen")


async def test_error_becomes_an_alert_and_reaches_the_phone(
    database_url: str, redis_url: str, gotify: GotifyStandIn
) -> None:
    async with serving(service(database_url, redis_url, gotify.url)) as client:
        await ready(client)
        await send(redis_url, note(Level.ERROR), note(Level.ERROR), note(Level.WARNING, "w"))
        await eventually(lambda: counted(client, "f", 2), what="two occurrences")
        await eventually(lambda: told(client, "f"), what="the alert marked as told")
        log = (await client.get(f"{BASE}/notifications")).json()
    assert [m["title"] for m in gotify.received] == ["ERROR: Trouble"]
    assert gotify.received[0]["message"] == "what and where"
    assert [(row["outcome"], row["channel"]) for row in log["items"]] == [("delivered", "gotify")]
    assert log["channels"] == ["gotify"]


async def counted(client: httpx.AsyncClient, fingerprint: str, count: int) -> bool:
    found = [a for a in await alerts(client) if a["fingerprint"] == fingerprint]
    return bool(found) and found[0]["count"] == count


async def told(client: httpx.AsyncClient, fingerprint: str) -> bool:
    found = [a for a in await alerts(client) if a["fingerprint"] == fingerprint]
    return bool(found[0]["escalations"])


async def test_the_same_messages_again_count_nothing(database_url: str, redis_url: str) -> None:
    messages = [note(Level.ERROR) for _ in range(3)]
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, *messages)
        await eventually(lambda: counted(client, "f", 3), what="three occurrences")
        await send(redis_url, *messages, note(Level.WARNING, "after"))
        await eventually(lambda: counted(client, "after", 1), what="the message after")
        assert await counted(client, "f", 3)


async def test_an_alert_lives_from_firing_over_acknowledged_to_resolved(
    database_url: str, redis_url: str
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, note(Level.ERROR))
        await eventually(lambda: counted(client, "f", 1), what="an alert")
        path = f"{BASE}/alerts/{(await alerts(client))[0]['id']}"
        # Who it was is what the token says, whatever the body tells.
        acknowledge = f"{path}/acknowledge"
        ann = headers_for("risk", name="ann")
        seen = (await client.post(acknowledge, json={"by": "eve"}, headers=ann)).json()
        assert (seen["state"], seen["acknowledged_by"]) == ("acknowledged", "user:ann")
        await send(redis_url, note(Level.ERROR))
        await eventually(lambda: counted(client, "f", 2), what="a second occurrence")
        assert (await alerts(client))[0]["state"] == "acknowledged"
        await send(redis_url, note(Level.CRITICAL))
        await eventually(lambda: counted(client, "f", 3), what="a third")
        worse = (await alerts(client))[0]
        assert (worse["state"], worse["level"]) == ("firing", "CRITICAL")
        assert (await client.post(f"{path}/resolve")).json()["state"] == "resolved"
        assert (await client.post(f"{path}/resolve")).status_code == 409
        late = await client.post(acknowledge)
        assert late.status_code == 409
        await send(redis_url, note(Level.ERROR))
        await eventually(lambda: two_alerts(client), what="a new alert")
        assert len(await alerts(client, "?state=firing")) == 1
        assert len(await alerts(client, "?limit=1")) == 1


async def two_alerts(client: httpx.AsyncClient) -> bool:
    return len(await alerts(client)) == 2


async def test_good_news_resolves_and_opens_nothing(database_url: str, redis_url: str) -> None:
    def risk(level: Level) -> LogMessage:
        alert = RiskAlert(
            account_id="main", code="TRADING_STATE", level=level, message="state", ts=NOW
        )
        return message(RISK_ALERTS, alert, source="risk_manager")

    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, risk(Level.CRITICAL))
        await eventually(lambda: in_state(client, "firing"), what="an alert")
        await send(redis_url, risk(Level.INFO), note(Level.INFO, "quiet"))
        await eventually(lambda: in_state(client, "resolved"), what="resolved")
        assert len(await alerts(client)) == 1


async def in_state(client: httpx.AsyncClient, state: str) -> bool:
    return [a["state"] for a in await alerts(client)] == [state]


async def test_silence_is_noticed_told_once_and_ended_by_a_heartbeat(
    database_url: str, redis_url: str, gotify: GotifyStandIn
) -> None:
    async with serving(service(database_url, redis_url, gotify.url)) as client:
        await ready(client)
        await beat(redis_url)
        await eventually(lambda: health_is(client, "ok"), what="ok")
        await beat(redis_url, "database: away")
        await eventually(lambda: health_is(client, "degraded"), what="degraded")
        await eventually(lambda: health_is(client, "stale"), what="stale")
        await eventually(lambda: health_is(client, "down"), what="down")
        await eventually(lambda: bool(gotify.received), what="a push")
        shown = (await client.get(f"{BASE}/health")).json()
        await beat(redis_url)
        await eventually(lambda: in_state(client, "resolved"), what="the alert resolved")
        metrics = (await client.get("/metrics")).text
    assert [m["title"] for m in gotify.received] == ["ERROR: portfolio is down"]
    assert shown["state"] == "down"
    line = next(s for s in shown["services"] if s["service"] == "portfolio")
    assert line["reasons"][0].startswith("silent for")
    assert line["instances"][0]["figures"] == {"equity": 5.0}
    assert 'monitoring_service_state{service="portfolio"} 0.0' in metrics
    with psycopg.connect(database_url) as connection:
        told = connection.execute("SELECT message FROM outbox ORDER BY seq").fetchall()
    assert b"portfolio is down" in b"".join(bytes(row[0]) for row in told)


async def health_is(client: httpx.AsyncClient, state: str) -> bool:
    return await state_of(client, "portfolio") == state


async def test_a_restart_too_quick_to_be_missed_is_told(database_url: str, redis_url: str) -> None:
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await eventually(lambda: heard(client, redis_url, NOW), what="the first life")
        await eventually(
            lambda: heard(client, redis_url, NOW + dt.timedelta(seconds=1)), what="the second"
        )
        name = fingerprint_of("restart", "portfolio")
        await eventually(lambda: counted(client, name, 1), what="the warning")
        await beat(redis_url, started_at=NOW + dt.timedelta(seconds=1))
        assert await counted(client, name, 1)
        found = next(a for a in await alerts(client) if a["fingerprint"] == name)
    assert (found["level"], found["title"]) == ("WARNING", "portfolio was restarted")


async def heard(client: httpx.AsyncClient, redis_url: str, started_at: dt.datetime) -> bool:
    """Beat, and tell whether the board shows it (what is sent before it listens is missed)."""
    await beat(redis_url, started_at=started_at)
    for row in (await client.get(f"{BASE}/health")).json()["services"]:
        for instance in row["instances"]:
            if row["service"] == "portfolio":
                return dt.datetime.fromisoformat(instance["started_at"]) == started_at
    return False


async def test_a_short_degradation_raises_no_alert(database_url: str, redis_url: str) -> None:
    app = service(database_url, redis_url, monitoring_settle_s=0.6, monitoring_stale_s=9.0)
    async with serving(app) as client:
        await ready(client)
        await beat(redis_url, "start: starting")
        await eventually(lambda: health_is(client, "degraded"), what="degraded")
        await beat(redis_url)
        await eventually(lambda: health_is(client, "ok"), what="ok")
        assert await alerts(client) == []
        await beat(redis_url, "database: away")
        await eventually(lambda: in_state(client, "firing"), what="the alert of a lasting one")


async def test_deaf_monitoring_tells_of_one_cause_not_of_every_service(
    database_url: str, redis_url: str, gotify: GotifyStandIn, redis_server: ServerProcess
) -> None:
    async with serving(service(database_url, redis_url, gotify.url)) as client:
        await ready(client)
        await beat(redis_url)
        await eventually(lambda: health_is(client, "ok"), what="ok")
        redis_server.stop()
        try:
            await eventually(lambda: bool(gotify.received), what="a push")
        finally:
            redis_server.start()
        await eventually(lambda: health_is(client, "down"), what="down")
    titles = [m["title"] for m in gotify.received]
    assert titles[0] == "ERROR: No heartbeat of any service arrives"


async def test_database_away_does_not_silence_the_alarm(
    pg_server: ServerProcess, database_url: str, redis_url: str, gotify: GotifyStandIn
) -> None:
    app = service(database_url, redis_url, gotify.url, database_timeout_s=1.0)
    async with serving(app) as client:
        await ready(client)
        await beat(redis_url)
        await eventually(lambda: health_is(client, "ok"), what="ok")
        pg_server.stop()
        try:
            await eventually(lambda: bool(gotify.received), within_s=60, what="a push")
        finally:
            pg_server.start()
        await eventually(lambda: stored(client), within_s=60, what="the alert stored later")
    assert [m["title"] for m in gotify.received].count("ERROR: portfolio is down") == 1


async def stored(client: httpx.AsyncClient) -> bool:
    return (await client.get(f"{BASE}/alerts?level=ERROR")).status_code == 200 and bool(
        await alerts(client, "?level=ERROR")
    )


async def test_gotify_away_delays_the_push_and_nothing_else(
    database_url: str, redis_url: str, gotify: GotifyStandIn
) -> None:
    gotify.answers = [500] * 5
    async with serving(service(database_url, redis_url, gotify.url)) as client:
        await ready(client)
        await send(redis_url, note(Level.ERROR), note(Level.WARNING, "next"))
        await eventually(lambda: counted(client, "next", 1), what="the next message handled")
        await eventually(lambda: bool(gotify.received), what="the push at last")
        await eventually(lambda: told(client, "f"), what="told")
        log = (await client.get(f"{BASE}/notifications")).json()["items"]
    assert log[0]["attempts"] == 6


async def test_untold_alert_is_told_by_the_next_life(
    database_url: str, redis_url: str, gotify: GotifyStandIn
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, note(Level.CRITICAL))
        await eventually(lambda: counted(client, "f", 1), what="an alert")
        log = (await client.get(f"{BASE}/notifications")).json()
        assert (log["items"], log["channels"]) == ([], [])
    async with serving(service(database_url, redis_url, gotify.url)):
        await eventually(lambda: bool(gotify.received), what="a push")
    assert gotify.received[0]["priority"] == 10


async def test_dead_letter_raises_an_alert(
    database_url: str, redis_url: str, gotify: GotifyStandIn
) -> None:
    bus = Bus(redis_url, timeout_s=5, name="test")
    await bus.ensure_group("log:signals", "risk_manager")
    async with serving(service(database_url, redis_url, gotify.url)) as client:
        await bus.bury("log:signals", "risk_manager", "1-1", b"{", "ContractError: what")
        await ready(client)
        await bus.bury("log:signals", "risk_manager", "1-2", b"{", "ContractError: what")
        await eventually(lambda: dead_counted(client, 2), what="both dead letters")
        await eventually(lambda: bool(gotify.received), what="a push")
        found = (await alerts(client))[0]
        pending: Any = await bus.client.xpending(DEAD_LETTERS, "monitoring")
    await bus.close()
    assert found["title"] == "risk_manager gave up on a message of log:signals"
    assert found["context"]["entry"] == "1-2"
    assert pending["pending"] == 0


async def dead_counted(client: httpx.AsyncClient, count: int) -> bool:
    found = await alerts(client)
    return bool(found) and found[0]["count"] == count


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "word"),
    [
        ("GET", "health?x=1", None, 422, "x"),
        ("GET", "alerts?state=asleep", None, 422, "state"),
        ("GET", "alerts?level=LOUD", None, 422, "level"),
        ("GET", "alerts?limit=-1", None, 422, "limit"),
        ("GET", "alerts?after=1", None, 422, "after"),
        ("GET", "notifications?after=x", None, 422, "after"),
        ("POST", "alerts/x/resolve", None, 422, "alert_id"),
        ("POST", f"alerts/{uuid.UUID(int=1)}/resolve", None, 404, "no alert"),
        ("POST", f"alerts/{uuid.UUID(int=1)}/acknowledge", None, 404, "no alert"),
    ],
)
async def test_bad_requests_name_what_is_wrong(
    database_url: str,
    redis_url: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    status: int,
    word: str,
) -> None:
    async with serving(service(database_url, redis_url)) as client:
        response = await client.request(method, f"{BASE}/{path}", json=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert word in response.text
