"""Audit on real servers: events by filter and page, a story from any of its ids."""

from __future__ import annotations

import json

import pytest

from tests.support.audit_service import audit_service, event, recorded, send
from tests.support.runtimes import ready, serving
from tests.support.story import MadeUpStory

pytestmark = pytest.mark.slow


async def test_events_are_filtered_and_paged(database_url: str, redis_url: str) -> None:
    story = MadeUpStory()
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        await send(redis_url, [*story.messages, *(event(n) for n in range(5))])
        await recorded(database_url, len(story.messages) + 5)
        first = (await client.get("/api/v1/audit/events?actor=ann&limit=3")).json()
        rest = (
            await client.get(f"/api/v1/audit/events?actor=ann&limit=3&after={first['next']}")
        ).json()
        of_story = (
            await client.get(f"/api/v1/audit/events?correlation_id={story.correlation_id}")
        ).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 2, None)
    seqs = [item["seq"] for item in first["items"] + rest["items"]]
    assert seqs == sorted(seqs, reverse=True)
    assert len(of_story["items"]) == len(story.messages)
    assert json.loads(json.dumps(first["items"][0]["details"]))["payload"]["actor"] == "ann"


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/api/v1/audit/events?limit=0", 422, "limit"),
        ("/api/v1/audit/events?limit=x", 422, "limit"),
        ("/api/v1/audit/events?after=-1", 422, "after"),
        ("/api/v1/audit/events?colour=blue", 422, "colour"),
        ("/api/v1/audit/events?since=yesterday", 422, "since"),
        ("/api/v1/audit/events?since=2026-11-20T00:00:00", 422, "since"),
        ("/api/v1/audit/events?correlation_id=1", 422, "correlation_id"),
        ("/api/v1/audit/verify?first_seq=0", 422, "first_seq"),
        ("/api/v1/audit/verify?last_seq=99999999999999999999", 422, "last_seq"),
        ("/api/v1/audit/trace/nonsense", 422, "story_id"),
        ("/api/v1/audit/trace/01a1fd39-0000-7000-8000-00000000dead", 404, "nothing is known"),
    ],
)
async def test_bad_requests_name_what_is_wrong(
    database_url: str, redis_url: str, path: str, status: int, word: str
) -> None:
    async with serving(audit_service(database_url, redis_url)) as client:
        response = await client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert word in response.text


async def test_trace_tells_the_whole_story_from_any_of_its_ids(
    database_url: str, redis_url: str
) -> None:
    story = MadeUpStory()
    story.store(database_url)
    other = MadeUpStory()
    ids = [
        story.correlation_id,
        story.signal_id,
        story.assessment_id,
        story.order_id,
        story.trade_id,
        story.messages[0].id,
        story.messages[-1].id,
    ]
    async with serving(audit_service(database_url, redis_url)) as client:
        await ready(client)
        before = (await client.get(f"/api/v1/audit/trace/{story.order_id}")).json()
        await send(redis_url, [*story.messages, *other.messages])
        await recorded(database_url, len(story.messages) * 2)
        told = [(await client.get(f"/api/v1/audit/trace/{one}")).json() for one in ids]
    kinds = [timed["step"]["kind"] for timed in told[0]["steps"]]
    assert kinds == [
        "bar", "signal", "judgement", "approval", "order_event", "ledger", "order_event",
        "order_event", "order_event", "trade", "ledger", "ledger",
    ]  # fmt: skip
    assert all(one["steps"] == told[0]["steps"] for one in told)
    gaps = [timed["since_previous_ms"] for timed in told[0]["steps"]]
    assert gaps == [None, 0.0, 10.0, 0.0, 10.0, 0.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0.0]
    assert told[0]["duration_ms"] == 50.0
    assert told[0]["unrecorded"] == 0
    judgement = told[0]["steps"][2]["step"]
    assert judgement["details"]["checks"][0]["code"] == "PRICE_STALE"
    assert told[0]["steps"][0]["step"]["ts"] is None
    # Before audit has read the streams the tables tell the story, and say that they do.
    assert before["unrecorded"] == 7
    assert [timed["step"]["kind"] for timed in before["steps"]] == [
        k for k in kinds if k != "approval"
    ]
