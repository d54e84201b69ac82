"""The live view draws what it was told, and says what it was not told."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from rich.console import Console

from infra.embedded.state import RunState
from infra.embedded.view_panels import plain_line, screen, sparkline
from infra.embedded.view_snapshot import SOURCES, Snapshot, collect, middle, number
from infra.routes import ROUTES

RUNNING = RunState(
    pid=1,
    created=1.0,
    phase="running",
    books="history",
    broker="simulator",
    gateway="http://127.0.0.1:8000",
    ports={"gateway": 8000, "broker_simulator": 9109, "audit": 8010},
)
ANSWERS: dict[str, object] = {
    "health": {"state": "ok", "services": [{"service": "audit", "state": "ok"}]},
    "quotes": {"items": [{"symbol": "AAPL", "bid": "10.00", "ask": "10.02"}], "next": None},
    "signals": {
        "items": [
            {
                "signal_id": "s-1",
                "strategy_id": "sma_cross",
                "symbol": "AAPL",
                "target": 0.5,
                "created_at": "2026-01-02T15:00:00.000000Z",
            }
        ]
    },
    "orders": {
        "items": [
            {
                "signal_id": "s-1",
                "symbol": "AAPL",
                "side": "buy",
                "quantity": "7",
                "status": "filled",
                "created_at": "2026-01-02T15:00:00.020000Z",
                "submitted_at": "2026-01-02T15:00:00.030000Z",
                "updated_at": "2026-01-02T15:00:00.070000Z",
            }
        ]
    },
    "trades": {"items": []},
    "account": {"equity": "1000123.4500", "cash": "1000000.0000", "day_pnl": "123.4500"},
    "positions": {"items": [{"symbol": "AAPL", "quantity": "7", "unrealized_pnl": "-1.5"}]},
    "risk": {"state": "active", "generation": 1},
    "assessments": {"items": [{"latency_us": 100}, {"latency_us": 300}, {"latency_us": 200}]},
}


def client(answers: dict[str, object], status: int = 200) -> httpx.AsyncClient:
    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        name = next(
            name for name, known in SOURCES.items() if path in (known, f"{known}?symbols=AAPL")
        )
        if name not in answers:
            return httpx.Response(502, json={"detail": "nobody there"})
        return httpx.Response(status, content=json.dumps(answers[name]))

    return httpx.AsyncClient(
        transport=httpx.MockTransport(answer), base_url="http://127.0.0.1:8000"
    )


def drawn(seen: Snapshot) -> str:
    output = io.StringIO()
    Console(file=output, width=160, height=50, force_terminal=False).print(
        screen(seen, RUNNING, ["audit is ready"], "Ctrl-C closes the view")
    )
    return output.getvalue()


async def test_screen_shows_every_panel() -> None:
    async with client(ANSWERS) as http:
        text = drawn(await collect(http, Snapshot(), ["AAPL"]))
    for part in (
        "1,000,123.45", "AAPL", "10.01", "sma_cross", "+0.50", "filled", "-1.50", "8010",
        "http://127.0.0.1:8000", "http://127.0.0.1:9109", "0.20/0.30 ms", "audit is ready",
        "Ctrl-C closes the view", "signal to order 20 ms", "order to fill 50 ms",
    ):  # fmt: skip
        assert part in text


async def test_screen_without_a_single_answer_names_the_errors() -> None:
    async with client({}) as http:
        seen = await collect(http, Snapshot(), ["AAPL"])
    assert set(seen.errors) == set(SOURCES)
    assert "nobody there" in drawn(seen)
    assert "nobody there" in plain_line(seen)


async def test_silent_source_keeps_its_former_answer() -> None:
    async with client(ANSWERS) as http:
        before = await collect(http, Snapshot(), ["AAPL"])
    silent = {name: answer for name, answer in ANSWERS.items() if name != "account"}
    async with client(silent) as http:
        seen = await collect(http, before, ["AAPL"])
    assert seen.one("account")["equity"] == "1000123.4500"
    assert seen.errors == {"account": "nobody there"}


async def test_plain_line_has_the_figures() -> None:
    async with client(ANSWERS) as http:
        line = plain_line(await collect(http, Snapshot(), ["AAPL"]))
    assert "equity 1,000,123.45" in line
    assert "last order AAPL buy filled" in line
    assert "services ok" in line


def test_sparkline_spans_low_to_high() -> None:
    assert sparkline([1.0, 2.0, 3.0]).plain == "▁▅█"
    assert sparkline([5.0, 5.0]).plain == "▁▁"
    assert sparkline([5.0]).plain == ""


@pytest.mark.parametrize(
    ("value", "expected"), [("1.5", 1.5), (2, 2.0), (None, None), (True, None), ("x", None)]
)
def test_number_reads_decimal_strings_only(value: object, expected: float | None) -> None:
    assert number(value) == expected


def test_middle_falls_back_to_the_side_that_is_there() -> None:
    assert middle({"bid": "1", "ask": "3"}) == 2
    assert middle({"bid": "1", "ask": None}) == 1
    assert middle({}) is None


def test_paths_are_served_by_the_gateway() -> None:
    prefixes = tuple(route.path for route in ROUTES)
    assert all(path.startswith(prefixes) for path in SOURCES.values())
