"""Secrets kept in the database: stored by the service, taken by others, encrypted anew."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from infra.embedded.ports import free_port
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.secrets import SecretBox, UnreadableError, new_key
from libs.common.runtime.secrets.stored import with_stored
from services.trade_executor.main import build
from services.trade_executor.settings import ExecutorSettings
from tests.support.security_house import House, house
from tests.support.tokens import headers_for

SECRETS = "/api/v1/secrets"
OLD, NEW = new_key(), new_key()
HIDDEN = "value-nobody-sees"


@pytest.fixture
async def home(database_url: str, redis_url: str) -> AsyncIterator[House]:
    async with house(database_url, redis_url, encryption_keys=OLD) as running:
        yield running


def executor(url: str, **changes: Any) -> ExecutorSettings:
    values = {"database_url": url, "encryption_keys": OLD, "broker_key": "", "broker_secret": ""}
    return ExecutorSettings.model_validate({**values, **changes})


async def put(home: House, name: str, value: str, **more: Any) -> httpx.Response:
    return await home.client.put(f"{SECRETS}/{name}", json={"value": value}, **more)


async def test_a_broker_key_is_stored_encrypted_and_taken_by_who_lacks_it(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("broker_key", "broker_secret"):
        stored = await put(home, name, f"{HIDDEN} {name}")
        assert (stored.status_code, stored.content) == (204, b"")
    await put(home, "broker_key", f"{HIDDEN} second")
    listed = await home.client.get(SECRETS)
    assert [each["name"] for each in listed.json()["items"]] == ["broker_key", "broker_secret"]
    with psycopg.connect(home.database_url) as connection:
        rows = connection.execute("SELECT * FROM stored_secrets").fetchall()
    assert len(rows) == 2
    assert HIDDEN not in f"{rows} {listed.text} {home.told()} {caplog.text}"
    settings = with_stored(executor(home.database_url))
    assert settings.broker_key.get_secret_value() == f"{HIDDEN} second"
    assert settings.broker_secret.get_secret_value() == f"{HIDDEN} broker_secret"
    assert HIDDEN not in repr(settings)
    # What is given goes first.
    given = with_stored(executor(home.database_url, broker_key="given"))
    assert given.broker_key.get_secret_value() == "given"
    assert given.broker_secret.get_secret_value() == f"{HIDDEN} broker_secret"
    gone = await home.client.delete(f"{SECRETS}/broker_key")
    assert gone.status_code == 204
    assert (await home.client.delete(f"{SECRETS}/broker_key")).status_code == 404
    assert with_stored(executor(home.database_url)).broker_key.get_secret_value() == ""
    assert home.kinds().count(("security.secret", "done")) == 4


async def test_who_may_and_what(home: House) -> None:
    for headers in (headers_for("trader", stepped_up=True), headers_for("risk", stepped_up=True)):
        refused = await put(home, "broker_key", HIDDEN, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission-denied")
        assert HIDDEN not in refused.text
    again = await put(home, "broker_key", HIDDEN, headers=headers_for("admin"))
    assert (again.status_code, again.json()["code"]) == (403, "step-up-required")
    for name, body in (("brokerkey", {"value": "x"}), ("broker_key", {"value": ""}),
                       ("broker_key", {"value": HIDDEN * 1000}), ("Broker", {"value": "x"}),
                       ("broker_key", {"value": HIDDEN, "more": HIDDEN})):  # fmt: skip
        odd = await home.client.put(f"{SECRETS}/{name}", json=body)
        assert odd.status_code == 422, odd.text
        assert HIDDEN not in odd.text


async def test_everything_is_encrypted_anew_batch_by_batch(
    database_url: str, redis_url: str
) -> None:
    async with house(database_url, redis_url, encryption_keys=OLD) as before:
        await before.add("anna", "trader")
        await put(before, "broker_key", "k")
        await put(before, "broker_secret", "s")
        stray = SecretBox([new_key()]).encrypt(b"x", "elsewhere")
        with psycopg.connect(database_url) as connection:
            connection.execute("INSERT INTO stored_secrets VALUES ('stray', %s, now())", (stray,))
    both = f"{NEW},{OLD}"
    async with house(database_url, redis_url, encryption_keys=both) as now:
        columns = (await now.client.get(SECRETS)).json()["columns"]
        assert set(columns) == {
            "user_credentials.totp_secret", "signing_keys.private_key", "stored_secrets.ciphertext",
        }  # fmt: skip
        first = await _all(now, "stored_secrets.ciphertext", limit=1)
        assert (first["rows"], first["rotated"], first["unreadable"]) == (3, 2, ["stray"])
        assert (await _all(now, "signing_keys.private_key"))["rotated"] >= 1
        again = await _all(now, "stored_secrets.ciphertext")
        assert (again["rows"], again["rotated"]) == (3, 0)
        odd = await now.client.post(f"{SECRETS}/rotation", json={"column": "users.name"})
        assert odd.status_code == 422
        await now.client.post(
            f"{SECRETS}/rotation", json={"column": "user_credentials.totp_secret"}
        )
    # The old key is needed no more: tokens are still signed, secrets still read.
    async with house(database_url, redis_url, encryption_keys=NEW) as after:
        assert (await after.tokens())["access_token"]
        settings = with_stored(executor(database_url, encryption_keys=NEW))
        assert settings.broker_secret.get_secret_value() == "s"
    with pytest.raises(UnreadableError, match=r"stored_secrets\.ciphertext:broker_key"):
        with_stored(executor(database_url))


async def _all(home: House, column: str, limit: int = 200) -> dict[str, Any]:
    """Rotate a column as the command does; return the sums."""
    sums: dict[str, Any] = {"rows": 0, "rotated": 0, "unreadable": []}
    after: str | None = ""
    while after is not None:
        body = {"column": column, "after": after, "limit": limit}
        answer = await home.client.post(f"{SECRETS}/rotation", json=body)
        assert answer.status_code == 200, answer.text
        done = answer.json()
        for name in sums:
            sums[name] += done[name]
        after = done["next"]
    return sums


def test_without_a_key_nobody_asks_and_the_refusal_names_all_ways() -> None:
    nowhere = f"postgresql://u@127.0.0.1:{free_port()}/x"
    bare = executor(nowhere, encryption_keys="")
    assert with_stored(bare) is bare
    with pytest.raises(ValueError, match=r"KEY_FILE.*VAULT_ADDR.*tradewind secret set"):
        build(bare)
    full = executor(nowhere, broker_key=SecretStr("k"), broker_secret=SecretStr("s"))
    assert with_stored(full) is full


def test_an_absent_database_is_said_without_its_password() -> None:
    url = f"postgresql://u:{HIDDEN}@127.0.0.1:{free_port()}/x"
    with pytest.raises(UnavailableError, match="broker_key and broker_secret: not given") as caught:
        with_stored(executor(url))
    assert HIDDEN not in str(caught.value)
