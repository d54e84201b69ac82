"""A link to Redis: answers to whoever asked, and an end that everybody hears of."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.redis_link import Link, good, open_link
from tests.support.servers import ServerProcess, running_redis


@pytest.fixture(scope="module")
def own_redis() -> Iterator[ServerProcess]:
    with tempfile.TemporaryDirectory(prefix="tradewind-test-") as name:
        Path(name).chmod(0o755)
        with running_redis(Path(name)) as server:
            yield server


@pytest.fixture
async def link(own_redis: ServerProcess) -> AsyncIterator[Link]:
    link = await open_link(own_redis.url, timeout_s=5, name="test")
    yield link
    link.close()


async def test_everybody_gets_the_answers_to_what_was_asked(link: Link) -> None:
    async def echo(number: int) -> list[bytes]:
        words = [f"{number}-{at}" for at in range(number % 3 + 1)]
        answers = await link.ask([("ECHO", word) for word in words], 5)
        assert [answer.decode() for answer in answers] == words
        return answers

    assert len(await asyncio.gather(*(echo(number) for number in range(200)))) == 200


async def test_a_refused_command_is_an_answer_and_leaves_the_link_as_it_is(link: Link) -> None:
    pong, refused = await link.ask([("PING",), ("NO-SUCH-COMMAND",)], 5)
    assert pong == b"PONG"
    with pytest.raises(UnavailableError, match="unknown command"):
        good(refused)
    assert await link.ask([("PING",)], 5) == [b"PONG"]


async def test_one_who_stops_waiting_takes_nobody_elses_answer(link: Link) -> None:
    blocked = asyncio.create_task(link.ask([("BLPOP", "nothing", 1)], 5))
    await asyncio.sleep(0.05)
    other = asyncio.create_task(link.ask([("ECHO", "mine")], 5))
    await asyncio.sleep(0.05)
    blocked.cancel()
    assert await other == [b"mine"]


async def test_a_silent_server_is_unavailable_and_the_link_is_over(
    own_redis: ServerProcess, link: Link
) -> None:
    own_redis.signal(signal.SIGSTOP)
    try:
        with pytest.raises(UnavailableError, match="no answer in time"):
            await link.ask([("PING",)], 0.2)
    finally:
        own_redis.signal(signal.SIGCONT)
    assert link.closed
    with pytest.raises(UnavailableError, match="closed"):
        await link.ask([("PING",)], 5)


async def test_all_who_wait_hear_of_a_lost_connection(link: Link) -> None:
    waiting = [asyncio.create_task(link.ask([("BLPOP", "nothing", 0)], 5)) for _ in range(2)]
    await asyncio.sleep(0.05)
    link.close()
    for task in waiting:
        with pytest.raises(UnavailableError):
            await task


async def test_a_link_speaks_to_the_database_of_its_url(own_redis: ServerProcess) -> None:
    base = own_redis.url.rsplit("/", 1)[0]
    first = await open_link(f"{base}/0", timeout_s=5, name="test")
    second = await open_link(f"{base}/1", timeout_s=5, name="test")
    await second.ask([("SET", "only-here", "yes")], 5)
    assert await first.ask([("GET", "only-here")], 5) == [None]
    first.close()
    second.close()


async def test_a_wrong_password_is_unavailable(own_redis: ServerProcess) -> None:
    where = own_redis.url.split("@")[-1]
    with pytest.raises(UnavailableError, match="redis"):
        await open_link(f"redis://:wrong@{where}", timeout_s=5, name="test")
