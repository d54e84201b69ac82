"""What is no sense is answered as Alpaca answers, and never by a crash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.simulator import KEY, SECRET, Simulator, start_simulator

ORDER = {"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
         "qty": "1", "limit_price": "1.00"}  # fmt: skip
NO_NUMBERS = [True, "", [], {}, "x", -1, 0, "NaN", 1e300, "1e999", "1e-30", "1_000", "１２",
              "9" * 5000, 9**40]  # fmt: skip
NO_TIMES = ["yesterday", "-1", "2020-13-45", "0001-01-01", "9999-12-31T23:59:59-14:00",
            "0001-01-01T00:00:00+14:00", "9" * 30, "\0"]  # fmt: skip
NO_BODIES = [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"qty": 1e999}']


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with start_simulator() as simulator:
        simulator.quote("AAPL", "100.00", "100.02")
        yield client_of(simulator)


def client_of(simulator: Simulator) -> httpx.Client:
    headers = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
    return httpx.Client(base_url=simulator.url, headers=headers, trust_env=False, timeout=20)


@pytest.mark.parametrize("field", ["qty", "limit_price"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: str(value)[:12])
def test_an_order_without_a_number_is_refused_by_field(
    client: httpx.Client, field: str, value: Any
) -> None:
    answer = client.post("/v2/orders", content=json.dumps({**ORDER, field: value}))
    assert answer.status_code in {400, 403, 422}, answer.text
    assert field.removesuffix("y") in answer.json()["message"]


@pytest.mark.parametrize("body", NO_BODIES, ids=lambda body: repr(body[:12]))
def test_a_body_that_is_no_order_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v2/orders", content=body)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.json()["message"]


@pytest.mark.parametrize("path", ["/v2/orders", "/v2/stocks/bars", "/v2/stocks/AAPL/trades"])
@pytest.mark.parametrize("name", ["start", "end", "after"])
@pytest.mark.parametrize("value", NO_TIMES)
def test_a_time_that_is_none_is_refused_by_name(
    client: httpx.Client, path: str, name: str, value: str
) -> None:
    taken = {"after"} if path == "/v2/orders" else {"start", "end"}
    answer = client.get(path, params={"symbols": "AAPL", name: value})
    if name in taken:
        assert answer.status_code == 422, answer.text
        assert answer.json()["message"].startswith(f"{name}: ")
    else:
        assert answer.status_code == 200
