"""The courier: patience, bounds, and an account of every end."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid

import pytest

from libs.common.domain.vocabulary import Level
from libs.common.kernel.clock import ManualClock
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from services.monitoring.adapters.gotify import GotifyMessenger
from services.monitoring.courier import Courier
from services.monitoring.ports import Outcome, Parcel, Receipt
from tests.support.gotify_server import TOKEN, gotify_server
from tests.support.runtimes import eventually

NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def parcel(number: int = 1, level: Level = Level.ERROR) -> Parcel:
    return Parcel(uuid.UUID(int=number), f"f{number}", level, f"title {number}", "message")


class Ends:
    """Takes receipts; refuses the first `failures` of them."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.receipts: list[Receipt] = []

    async def take(self, receipt: Receipt) -> None:
        if self.failures:
            self.failures -= 1
            raise UnavailableError("database: away")
        self.receipts.append(receipt)


def courier(url: str, ends: Ends, *, queue_max: int = 10, attempts_max: int = 4) -> Courier:
    return Courier(
        GotifyMessenger(url, TOKEN, 1.0),
        ends.take,
        ManualClock(NOW),
        queue_max=queue_max,
        attempts_max=attempts_max,
        delay_s=0.001,
        delay_s_max=0.01,
    )


async def delivered(made: Courier, ends: Ends, count: int) -> None:
    task = asyncio.create_task(made.run())
    try:
        await eventually(lambda: len(ends.receipts) >= count, what=f"{count} receipts")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_message_arrives_with_title_and_priority() -> None:
    ends = Ends()
    with gotify_server() as server:
        made = courier(server.url, ends)
        made.offer(parcel(1))
        made.offer(parcel(2, Level.CRITICAL))
        await delivered(made, ends, 2)
    assert server.received == [
        {"title": "ERROR: title 1", "message": "message", "priority": 7},
        {"title": "CRITICAL: title 2", "message": "message", "priority": 10},
    ]
    assert [(r.outcome, r.attempts) for r in ends.receipts] == [(Outcome.DELIVERED, 1)] * 2


@pytest.mark.parametrize("answers", [[500, 503], [None, 502], [429, 408]])
async def test_passing_trouble_is_tried_again(answers: list[int | None]) -> None:
    ends = Ends()
    with gotify_server() as server:
        server.answers = answers
        made = courier(server.url, ends)
        made.offer(parcel())
        await delivered(made, ends, 1)
    assert (ends.receipts[0].outcome, ends.receipts[0].attempts) == (Outcome.DELIVERED, 3)
    assert len(server.received) == 1


async def test_refusal_is_not_tried_again() -> None:
    ends = Ends()
    with gotify_server() as server:
        server.answers = [401]
        made = courier(server.url, ends)
        made.offer(parcel())
        await delivered(made, ends, 1)
    assert (ends.receipts[0].outcome, server.requests) == (Outcome.FAILED, 1)
    assert "401" in str(ends.receipts[0].error)


async def test_absent_server_is_given_up_after_the_attempts_and_the_next_one_is_tried() -> None:
    ends = Ends()
    made = courier("http://127.0.0.1:9", ends, attempts_max=2)
    made.offer(parcel(1))
    made.offer(parcel(2))
    await delivered(made, ends, 2)
    assert [(r.outcome, r.attempts) for r in ends.receipts] == [(Outcome.FAILED, 2)] * 2


async def test_full_queue_drops_at_once_and_says_so() -> None:
    ends = Ends()
    made = courier("http://127.0.0.1:9", ends, queue_max=2)
    assert [made.offer(parcel(n)) for n in range(3)] == [True, True, False]
    await made.account()
    assert [(r.outcome, r.parcel.title) for r in ends.receipts] == [(Outcome.DROPPED, "title 2")]


async def test_one_fingerprint_is_on_its_way_once() -> None:
    ends = Ends()
    with gotify_server() as server:
        made = courier(server.url, ends)
        for _ in range(5):
            made.offer(parcel(1))
        assert made.carries("f1")
        await delivered(made, ends, 1)
        assert not made.carries("f1")
    assert len(server.received) == 1


async def test_receipt_that_cannot_be_written_is_written_later() -> None:
    ends = Ends(failures=1)
    with gotify_server() as server:
        made = courier(server.url, ends)
        made.offer(parcel(1))
        made.offer(parcel(2))
        await delivered(made, ends, 2)
    assert [receipt.parcel.title for receipt in ends.receipts] == ["title 1", "title 2"]


async def test_nonsense_address_is_a_refusal() -> None:
    with pytest.raises((InvalidInputError, UnavailableError)):
        await GotifyMessenger("htp:/nowhere", TOKEN, 1.0).send(parcel())


async def test_slow_server_is_left_after_the_timeout() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    with pytest.raises(UnavailableError):
        await GotifyMessenger(f"http://127.0.0.1:{port}", TOKEN, 0.1).send(parcel())
    listening.close()
