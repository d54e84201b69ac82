"""The thin Pub/Sub connection against a real server and against a silent one."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis
import uvloop

from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.subscription import Subscription, subscribe


async def taken(subscription: Subscription, count: int) -> list[bytes]:
    found: list[bytes] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await subscription.take()
    return found


async def test_every_message_comes_in_order_and_only_of_the_pattern(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    sent = [b"%d:" % number + b"x" * (number % 3000) for number in range(3000)]
    async with subscribe(redis_url, "market_data.*", timeout_s=5, name="test") as subscription:
        pipe = client.pipeline(transaction=False)
        for message in sent:
            pipe.publish("market_data.AAPL", message)
            pipe.publish("system.health", b"not for us")
        await asyncio.to_thread(pipe.execute)
        assert await taken(subscription, len(sent)) == sent
    client.close()


async def test_a_flood_pauses_reading_and_loses_nothing(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    async with subscribe(redis_url, "market_data.*", timeout_s=5, name="test") as subscription:
        count = 0
        for _ in range(10):
            pipe = client.pipeline(transaction=False)
            for _ in range(5000):
                pipe.publish("market_data.AAPL", b"%d" % count)
                count += 1
            await asyncio.to_thread(pipe.execute)
        assert await taken(subscription, count) == [b"%d" % number for number in range(count)]
    client.close()


async def test_a_cut_connection_is_noticed_by_whoever_waits(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    async with subscribe(redis_url, "market_data.*", timeout_s=5, name="cut-me") as subscription:
        waiting = asyncio.create_task(subscription.take())
        await asyncio.sleep(0)
        mine = next(row for row in client.client_list() if row["name"] == "cut-me")
        client.client_kill_filter(_id=mine["id"])
        with pytest.raises(UnavailableError, match="redis"):
            await asyncio.wait_for(waiting, 5)
    client.close()


async def test_a_wrong_password_is_named(redis_url: str) -> None:
    wrong = redis_url.replace("test-only", "wrong")
    assert wrong != redis_url
    with pytest.raises(UnavailableError, match="WRONGPASS"):
        async with subscribe(wrong, "market_data.*", timeout_s=5, name="test"):
            pytest.fail("logged in with a wrong password")


async def test_nobody_there_is_named() -> None:
    with pytest.raises(UnavailableError, match="redis"):
        async with subscribe("redis://127.0.0.1:1/0", "x", timeout_s=5, name="test"):
            pytest.fail("subscribed to nobody")


async def test_a_server_that_falls_silent_counts_as_lost() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PSUBSCRIBE\r\n$1\r\nx\r\n")
        writer.write(b"+OK\r\n*3\r\n$10\r\npsubscribe\r\n$1\r\nx\r\n:1\r\n")
        await reader.read()  # takes pings, answers none
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    begun = time.monotonic()
    async with subscribe(
        f"redis://127.0.0.1:{port}/0", "x", timeout_s=5, name="test", ping_s=0.05
    ) as subscription:
        with pytest.raises(UnavailableError, match="silent"):
            await asyncio.wait_for(subscription.take(), 5)
    assert time.monotonic() - begun >= 0.15
    server.close()


async def test_rubbish_counts_as_lost() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(UnavailableError, match="unreadable"):
        async with subscribe(f"redis://127.0.0.1:{port}/0", "x", timeout_s=5, name="test"):
            pytest.fail("subscribed to a web server")
    server.close()


def test_the_same_on_the_loop_that_services_run_on(redis_url: str) -> None:
    async def listen() -> list[bytes]:
        async with subscribe(redis_url, "market_data.*", timeout_s=5, name="test") as subscription:
            with redis.Redis.from_url(redis_url) as client:
                client.publish("market_data.AAPL", b"heard")
            return await taken(subscription, 1)

    assert uvloop.run(listen()) == [b"heard"]
