"""`tradewind halt --direct` against the simulated broker over a real socket, no service alive."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import Result

from infra.embedded.errors import EmbeddedError
from infra.embedded.home import Home, write_private
from infra.halt.switch import honour_mark, mark_file
from services.risk_manager.halt_mark import read_mark
from services.trade_executor.main import build
from tests.support.executor_orders import approval, spec
from tests.support.executor_world import compare_books, executor_world, settings_for
from tests.support.gateway_stand_in import tradewind
from tests.support.runtimes import eventually, ready, serving
from tests.support.simulator import Simulator, free_port, start_simulator


@dataclass
class Place:
    """A home as the last run left it: its state file and secrets, and nothing that runs."""

    home: Home
    simulator: Simulator
    database_url: str

    def leave_state(self, *, broker_port: int | None = None, postgres_port: int = 1) -> None:
        self.home.run.mkdir(parents=True, exist_ok=True)
        self.home.credentials.mkdir(parents=True, exist_ok=True)
        ports = {
            "broker_simulator": broker_port or self.simulator.port,
            "postgres": postgres_port,
        }
        state = {"pid": 1, "created": 1.0, "books": "history", "broker": "simulator"}
        write_private(self.home.state_file, json.dumps({**state, "ports": ports}))
        secrets = {
            "broker_key": self.simulator.key,
            "broker_secret": self.simulator.secret,
            "database_risk_manager": "nobody-knows",
        }
        write_private(self.home.credentials / "secrets.json", json.dumps(secrets))

    def switch(self) -> tuple[Any, ...] | None:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(
                "SELECT state, generation, reason, set_by FROM trading_state"
            ).fetchone()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Iterator[Place]:
    for name in ("URL", "KEY", "SECRET"):
        monkeypatch.delenv(f"TRADEWIND_BROKER_{name}", raising=False)
    for name in ("TRADEWIND_BROKER", "BROKER", "TRADEWIND_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("TRADEWIND_HALT_MARK", str(tmp_path / "shared" / "halted.json"))
    monkeypatch.setenv("COLUMNS", "200")
    with start_simulator(simulator_cash="1000000") as simulator:
        for symbol in ("AAPL", "KO", "MSFT"):
            simulator.quote(symbol, "100.00", "100.02")
        found = Place(Home(tmp_path / "var", "history"), simulator, database_url)
        found.leave_state()
        yield found


def trade(simulator: Simulator) -> None:
    """Hold 100 KO and short 300 MSFT, a stop under KO; rest twelve more orders."""
    simulator.submit("KO", "buy", "100")
    simulator.submit("MSFT", "sell", "300")
    simulator.submit("KO", "sell", "100", type="stop", stop_price="80", time_in_force="gtc")
    for number in range(12):
        simulator.submit("AAPL", "buy", "1", type="limit", limit_price=f"{50 + number}.00")


def halt(*arguments: str) -> Result:
    return tradewind("halt", "a test", "--direct", *arguments)


def open_orders(simulator: Simulator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = simulator.get("/v2/orders", status="open", limit=500)
    return found


def test_everything_but_the_exit_is_cancelled_and_the_switch_is_set(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(place.simulator)
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", place.database_url)
    for generation in (1, 2):
        result = halt()
        assert result.exit_code == 0, result.output
        assert place.switch() == ("halted", generation, "a test", "halt --direct")
    assert [one["type"] for one in open_orders(place.simulator)] == ["stop"]
    assert "left 1 protective exits where they are" in result.output
    assert not mark_file(place.home).exists()
    with psycopg.connect(place.database_url) as connection:
        told = connection.execute(
            "SELECT channel FROM outbox WHERE source = 'risk_manager'"
        ).fetchall()
    assert told == [("risk.alerts",)] * 2


def test_flattening_closes_the_largest_first_and_is_verified(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade(place.simulator)
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", place.database_url)
    result = halt("--flatten", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["closed"] == ["MSFT", "KO"]
    assert len(report["cancelled"]) == 13
    assert report["verified"]
    assert place.simulator.get("/v2/positions") == []
    assert open_orders(place.simulator) == []


def test_a_broker_named_in_full_leaves_the_mark_that_compose_reads(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = place.simulator
    for name, value in (("URL", there.url), ("KEY", there.key), ("SECRET", there.secret)):
        monkeypatch.setenv(f"TRADEWIND_BROKER_{name}", value)
    place.home.state_file.unlink()
    trade(there)
    result = halt()
    assert result.exit_code == 0, result.output
    assert len(open_orders(there)) == 1
    mark = tmp_path / "shared" / "halted.json"
    assert str(mark) in result.stderr
    assert mark.stat().st_mode & 0o777 == 0o644
    found = read_mark(mark)
    assert found is not None
    assert (found.reason, found.account_id, found.flatten) == ("a test", "main", False)


def test_without_a_database_a_mark_is_left_that_the_next_start_obeys(place: Place) -> None:
    trade(place.simulator)
    result = halt()
    assert result.exit_code == 0, result.output
    assert "THE KILL SWITCH IS NOT SET" in result.stderr
    assert len(open_orders(place.simulator)) == 1
    with pytest.raises(EmbeddedError, match="orders a halt that could not be set"):
        honour_mark(place.home, "postgresql://nobody@127.0.0.1:1/nothing")
    assert mark_file(place.home).exists()
    honoured = honour_mark(place.home, place.database_url)
    assert honoured is not None
    assert place.switch() == ("halted", 1, "a test", "halt --direct")
    assert honour_mark(place.home, place.database_url) is None


def test_a_broker_that_stumbles_is_asked_again(place: Place) -> None:
    trade(place.simulator)
    place.simulator.fault("error_before", status=503, path="/v2/positions", count=2)
    place.simulator.fault("lost_answer", method="DELETE", count=2)
    result = halt("--flatten")
    assert result.exit_code == 0, result.output
    assert "asking again" in result.stderr
    assert place.simulator.get("/v2/positions") == []


def test_what_cannot_be_closed_in_time_is_named(place: Place) -> None:
    trade(place.simulator)
    place.simulator.behave(cancel_delay_s=3600)
    result = halt("--flatten", "--within", "1")
    assert result.exit_code == 1
    assert "left: KO 100" in result.output
    assert "not seen to be done within 1 s" in result.stderr


def test_a_broker_that_is_away_is_said_and_the_switch_is_set_all_the_same(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.leave_state(broker_port=free_port())
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", place.database_url)
    result = halt("--within", "1")
    assert result.exit_code == 3
    assert "does not answer" in result.stderr
    assert place.switch() == ("halted", 1, "a test", "halt --direct")


def test_wrong_or_missing_keys_are_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("APCA_API_KEY_ID", "ALPACA_API_KEY", "ALPACA_KEY"):
        monkeypatch.delenv(name, raising=False)
    missing = halt("--broker", "alpaca")
    assert missing.exit_code == 1
    assert "APCA_API_KEY_ID" in missing.stderr
    monkeypatch.setenv("TRADEWIND_BROKER_URL", place.simulator.url)
    half = halt()
    assert half.exit_code == 1
    assert "TRADEWIND_BROKER_KEY and TRADEWIND_BROKER_SECRET is not set" in half.stderr
    monkeypatch.setenv("TRADEWIND_BROKER_KEY", "wrong")
    monkeypatch.setenv("TRADEWIND_BROKER_SECRET", "wrong")
    wrong = halt()
    assert wrong.exit_code == 1
    assert "does not take the keys" in wrong.stderr


def test_a_home_that_never_ran_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRADEWIND_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("TRADEWIND_BROKER_URL", raising=False)
    result = halt()
    assert result.exit_code == 1
    assert "does not say where the broker is" in result.stderr


async def test_an_executor_that_comes_back_books_what_was_closed_behind_its_back(
    place: Place, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = place.simulator
    async with executor_world(simulator, place.database_url, redis_url) as world:
        bought = approval(spec("buy", "100", symbol="KO"), generation=1, reference_price="100")
        resting = approval(spec("buy", "5", limit="50.00"), generation=1, order_id=uuid.uuid4())
        await world.send(bought, resting)
        await world.until(bought.order_id, "filled")
        await world.until(resting.order_id, "working", "accepted", "submitted")
        await world.books_equal()
    monkeypatch.setenv("TRADEWIND_DATABASE_URL", place.database_url)
    result = halt("--flatten")
    assert result.exit_code == 0, result.output
    app = build(settings_for(simulator, place.database_url, redis_url))
    async with serving(app) as client:
        await ready(client)
        await eventually(
            lambda: not compare_books(place.database_url, simulator.ledger()), what="equal books"
        )
        shown = (await client.get("/api/v1/orders", params={"limit": 10})).json()["items"]
    states = {one["id"]: one["status"] for one in shown}
    assert states[str(resting.order_id)] == "canceled"
    (external,) = [one for one in shown if one["external"]]
    assert (external["symbol"], external["side"], external["status"]) == ("KO", "sell", "filled")
    assert Decimal(external["quantity"]) == 100
    assert place.switch() == ("halted", 2, "a test", "halt --direct")
