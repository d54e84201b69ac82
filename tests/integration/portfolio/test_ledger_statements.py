"""One account's statement on real tables: every balance is the sum of what came before it."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from libs.common.domain.vocabulary import Side
from services.portfolio.main import build
from services.portfolio.settings import PortfolioSettings
from tests.support.books import MadeUpBooks
from tests.support.runtimes import ready, serving

PATH = "/api/v1/portfolio/ledger"


@pytest.fixture
async def client(database_url: str, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an account that has bought, sold, paid fees, held money and let it go again."""
    books = MadeUpBooks(database_url)
    books.deposit("1000.0000")
    books.execute(Side.BUY, "10", "AAPL", "50.01", fee="1.5")
    books.hold("100")
    books.execute(Side.SELL, "4", "AAPL", "51.0003")
    books.execute(Side.SELL, "7.5", "AAPL", "49")  # short at the end
    with psycopg.connect(database_url) as tx:
        tx.execute(
            "INSERT INTO ledger_transfers (id, debit_account, credit_account, ledger, amount,"
            " kind, pending_id, code, correlation_id) SELECT %s, debit_account, credit_account,"
            " ledger, amount, 'void', id, code, %s FROM ledger_transfers WHERE kind = 'pending'",
            (uuid.uuid4(), uuid.uuid4()),
        )
    made = {"database_url": database_url, "redis_url": redis_url, "outbox_sweep_s": 0.1}
    async with serving(build(PortfolioSettings.model_validate(made))) as running:
        await ready(running)
        yield running


async def get(client: httpx.AsyncClient, path: str, **params: Any) -> dict[str, Any]:
    answer = await client.get(f"{PATH}/{path}", params=params)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def held(client: httpx.AsyncClient, name: str, **params: Any) -> dict[str, Any]:
    owner, ledger, code = name.split("/")
    items = (await get(client, "balances", **params))["items"]
    return next(
        one for one in items if [one["owner"], one["ledger"], one["code"]] == [owner, ledger, code]
    )


async def test_balances_run_from_the_opening_to_the_closing_one(client: httpx.AsyncClient) -> None:
    whole = await get(client, "statement")
    lines = whole["items"]
    assert whole["account"] == {"owner": "main", "ledger": "USD", "code": "cash"}
    assert [line["change"] for line in lines] == [
        "1000.0000", "-500.1000", "-1.5000", "0.0000", "204.0012", "367.5000", "0.0000"
    ]  # fmt: skip
    running = Decimal(0)
    for line in lines:
        running += Decimal(line["change"])
        assert Decimal(line["balance"]) == running
    assert (whole["opening"], Decimal(whole["closing"])) == ("0.0000", running)
    assert Decimal((await held(client, "main/USD/cash"))["posted"]) == running


async def test_a_stretch_joins_on_to_what_is_before_and_after_it(client: httpx.AsyncClient) -> None:
    lines = (await get(client, "statement"))["items"]
    start, end = lines[1]["ts"], lines[5]["ts"]
    before = await get(client, "statement", end=start)
    within = await get(client, "statement", start=start, end=end)
    after = await get(client, "statement", start=end)
    assert before["items"] + within["items"] + after["items"] == lines
    assert before["closing"] == within["opening"] == "1000.0000"
    assert within["closing"] == after["opening"] == within["items"][-1]["balance"]
    pages, cursor = [], None
    while True:
        params = {"limit": 2} if cursor is None else {"limit": 2, "after": cursor}
        page = await get(client, "statement", **params)
        pages += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == lines


async def test_every_account_has_a_statement_that_ends_at_its_balance(
    client: httpx.AsyncClient,
) -> None:
    answer = await get(client, "balances")
    for one in answer["items"]:
        named = {name: one[name] for name in ("owner", "ledger", "code")}
        assert (await get(client, "statement", **named))["closing"] == one["posted"]
    shares = await get(client, "statement", ledger="AAPL")
    assert shares["items"][-1]["balance"] == "-1.50000000"


async def test_balances_at_a_time_are_what_the_statements_say(client: httpx.AsyncClient) -> None:
    lines = (await get(client, "statement"))["items"]
    for place in range(1, len(lines)):
        at = lines[place]["ts"]
        closing = (await get(client, "statement", end=at))["closing"]
        assert (await held(client, "main/USD/cash", at=at))["posted"] == closing
        assert all(Decimal(s) == 0 for s in (await get(client, "balances", at=at))["sums"].values())
    hold, sold, void = lines[3]["ts"], lines[4]["ts"], lines[6]["ts"]
    waiting = [
        (await held(client, "main/USD/cash", at=at))["pending_debits"] for at in (hold, sold, void)
    ]
    assert waiting == ["0.0000", "100.0000", "100.0000"]
    now = await held(client, "main/USD/cash")
    assert await held(client, "main/USD/cash", at="2999-01-01T00:00:00Z") == now
    assert Decimal(now["pending_debits"]) == 0


async def test_csv_holds_the_same_lines_between_its_balances(client: httpx.AsyncClient) -> None:
    whole = await get(client, "statement")
    answer = await client.get(f"{PATH}/statement", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    first, *rows, last = csv.DictReader(io.StringIO(answer.text))
    assert (first["code"], first["balance"]) == ("opening_balance", whole["opening"])
    assert (last["code"], last["balance"]) == ("closing_balance", whole["closing"])
    for row, line in zip(rows, whole["items"], strict=True):
        assert [row["change"], row["balance"], row["counterparty"], row["trade_id"]] == [
            line["change"], line["balance"], line["counterparty"], line["trade_id"] or ""
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("statement?ledger=NOPE", 404),
        ("statement?owner=nobody", 404),
        ("statement?code=gold", 422),
        ("statement?format=xml", 422),
        ("statement?start=2022-01-02T00:00:00", 422),
        ("statement?start=2022-01-02T00:00:00Z&end=2022-01-01T00:00:00Z", 422),
        ("balances?at=yesterday", 422),
    ],
)
async def test_what_is_not_there_or_makes_no_sense_is_refused(
    client: httpx.AsyncClient, path: str, status: int
) -> None:
    answer = await client.get(f"{PATH}/{path}")
    assert answer.status_code == status, answer.text
