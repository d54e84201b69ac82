"""Starts of services on record: version, settings without secrets, and what changed."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from libs.common.runtime.app import create_app
from libs.common.runtime.deployment import masked, version_of
from libs.common.runtime.settings import ServiceSettings
from tests.support.runtimes import eventually, ready, runtime_for, serving


def events(database_url: str) -> list[dict[str, Any]]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT message FROM outbox WHERE stream = 'log:audit.operations' ORDER BY seq"
        ).fetchall()
    return [json.loads(bytes(row[0]))["payload"] for row in rows]


async def test_a_start_is_recorded_with_what_differs_from_the_one_before(
    database_url: str, redis_url: str
) -> None:
    for limit in (1000, 1000, 2000):
        runtime = runtime_for("portfolio", database_url, redis_url, body_bytes_max=limit)
        async with serving(create_app(runtime)) as client:
            await ready(client)
            await eventually(lambda run=runtime: known(database_url, run))
    found = [(one["event_type"], one["outcome"]) for one in events(database_url)]
    assert found == [
        ("ServiceStarted", "started"), ("ServiceStopped", "stopped"),
        ("ServiceStarted", "started"), ("ServiceStopped", "stopped"),
        ("ServiceStarted", "started"), ("ConfigurationChanged", "changed"),
        ("ServiceStopped", "stopped"),
    ]  # fmt: skip
    change = events(database_url)[5]
    assert (change["resource"], change["details"]) == (
        "service:portfolio/0", {"body_bytes_max": "[1000, 2000]"},
    )  # fmt: skip
    password = database_url.split(":")[2].split("@")[0]
    assert password not in json.dumps(events(database_url))


def known(database_url: str, runtime: Any) -> bool:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT started_at FROM deployments").fetchone()
    return row is not None and row[0] == runtime.started_at


async def test_another_version_is_recorded_as_deployed(database_url: str, redis_url: str) -> None:
    runtime = runtime_for("portfolio", database_url, redis_url)
    async with serving(create_app(runtime)) as client:
        await ready(client)
        await eventually(lambda: known(database_url, runtime))
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE deployments SET version = '0.0.9+000000000000'")
    runtime = runtime_for("portfolio", database_url, redis_url)
    async with serving(create_app(runtime)) as client:
        await ready(client)
        await eventually(lambda: known(database_url, runtime))
    (deployed,) = [one for one in events(database_url) if one["event_type"] == "Deployed"]
    assert deployed["details"] == {
        "before": "0.0.9+000000000000", "after": version_of("portfolio"),
    }  # fmt: skip


def test_no_secret_is_in_the_settings_that_are_shown() -> None:
    settings = ServiceSettings.model_validate(
        {
            "database_url": "postgresql://a:hunter2@db/x",
            "clock_url": "http://user:hunter2@sim:9109",
            "redis_url": "redis://:hunter2@r:1/0",
        }
    )
    shown = masked(settings)
    assert "hunter2" not in json.dumps(shown)
    assert (shown["database_url"], shown["clock_url"]) == ("***", "http://***@sim:9109")
