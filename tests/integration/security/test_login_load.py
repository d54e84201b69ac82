"""Many logins at once: others are served meanwhile, and too many are told to come again."""

from __future__ import annotations

import asyncio

import psycopg

from tests.support.security_house import AUTH, FIRST, PASSWORD, house


async def test_others_are_served_while_logins_wait(database_url: str, redis_url: str) -> None:
    # A hash of tens of milliseconds, in one thread: seven of them take a while.
    slow = {"password_time_cost": 4, "password_memory_kib": 8_192, "password_threads": 1}
    async with house(database_url, redis_url, **slow, password_waiting_max=6) as there:
        logins = [asyncio.create_task(there.login("admin", FIRST)) for _ in range(16)]
        served = 0
        while not all(task.done() for task in logins):
            answer = await there.client.get(f"{AUTH}/me")
            assert answer.status_code == 200
            served += 1
            await asyncio.sleep(0.005)  # in-process requests give way to nobody by themselves
        # Were they waiting for the logins, each would take as long as all of them.
        assert served >= 5
        answers = [await task for task in logins]
        turned_away = [each for each in answers if each.status_code == 503]
        assert 1 <= len(turned_away) <= 16 - 7
        for each in turned_away:
            assert each.json()["code"] == "busy"
            assert int(each.headers["Retry-After"]) >= 1
        assert sum(each.status_code == 200 for each in answers) == 16 - len(turned_away)
        # Who did not come in was not counted as a failure, and the next one does come in.
        assert (await there.login("admin", FIRST)).status_code == 200


async def test_tries_are_rationed_per_user_and_per_address(
    database_url: str, redis_url: str
) -> None:
    limits = {"logins_per_minute_user": 3, "logins_per_minute_address": 5}
    async with house(database_url, redis_url, **limits) as there:
        for _ in range(3):
            assert (await there.login("admin", FIRST)).status_code == 200
        limited = await there.login("admin", FIRST)
        assert (limited.status_code, limited.json()["code"]) == (429, "too-many-tries")
        assert 1 <= int(limited.headers["Retry-After"]) <= 120
        # Unknown names are rationed alike, and by address all names together.
        assert (await there.login("nobody", PASSWORD)).status_code == 401
        assert (await there.login("someone", PASSWORD)).status_code == 429


async def test_a_hash_of_older_parameters_is_renewed_at_the_next_login(
    database_url: str, redis_url: str
) -> None:
    def kept() -> str:
        with psycopg.connect(database_url) as connection:
            row = connection.execute("SELECT password_hash FROM user_credentials").fetchone()
        assert row is not None
        return str(row[0])

    async with house(database_url, redis_url) as there:
        assert kept().startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert (await there.login("admin", FIRST)).status_code == 200
    async with house(database_url, redis_url, password_time_cost=2) as there:
        assert (await there.login("admin", FIRST)).status_code == 200
        assert kept().startswith("$argon2id$v=19$m=8,t=2,p=1$")
        assert (await there.login("admin", FIRST)).status_code == 200
