"""The simulator's own death: whatever it answered is still true afterwards."""

import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.simulator import SimulatorProcess, start_simulator_process


def truth(ledger: dict[str, Any]) -> dict[str, Any]:
    return {name: ledger[name] for name in ("cash", "positions", "orders", "executions")}


def test_books_survive_sigkill_and_trading_goes_on(tmp_path: Path) -> None:
    with start_simulator_process(tmp_path / "state.sqlite") as simulator:
        simulator.quote("AAPL", "100.00", "100.02")
        simulator.submit("AAPL", "buy", "10", client_order_id="filled")
        resting = simulator.submit("AAPL", "sell", "10", type="limit", limit_price=105)
        bracket = simulator.submit(
            "KO",
            "buy",
            "5",
            order_class="bracket",
            take_profit={"limit_price": 60},
            stop_loss={"stop_price": 40},
        )
        simulator.step(30)
        before, clock = simulator.ledger(), simulator.clock()["now"]
        simulator.restart()
        assert truth(simulator.ledger()) == truth(before)
        assert simulator.clock()["now"] == clock
        assert simulator.get("/v2/orders:by_client_order_id", client_order_id="filled")
        assert simulator.account()["equity"] == "999999.9"  # valued at the quote's middle
        simulator.quote("AAPL", "105.10", "105.12")
        assert simulator.order(resting["id"])["status"] == "filled"
        simulator.quote("KO", "50.00", "50.02")
        legs = simulator.order(bracket["id"])["legs"]
        assert [leg["status"] for leg in legs] == ["new", "new"]
        simulator.quote("KO", "39.00", "39.02")
        legs = simulator.order(bracket["id"])["legs"]
        assert sorted(leg["status"] for leg in legs) == ["canceled", "filled"]
        assert simulator.ledger()["positions"] == []


def test_cancel_and_acknowledgement_in_flight_are_carried_out_after_a_restart(
    tmp_path: Path,
) -> None:
    with start_simulator_process(tmp_path / "state.sqlite") as simulator:
        order = simulator.submit("AAPL", "buy", "10", type="limit", limit_price=99)
        simulator.behave(cancel_delay_s=60)
        simulator.request("DELETE", f"/v2/orders/{order['id']}")
        simulator.restart()
        simulator.step(61)
        assert simulator.order(order["id"])["status"] == "canceled"


def test_replacement_in_flight_is_carried_out_after_a_restart(tmp_path: Path) -> None:
    with start_simulator_process(tmp_path / "state.sqlite") as simulator:
        order = simulator.submit("AAPL", "buy", "10", type="limit", limit_price=99)
        simulator.behave(replace_delay_s=60)
        successor = simulator.request(
            "PATCH", f"/v2/orders/{order['id']}", json={"limit_price": 98}
        ).json()
        simulator.restart()
        simulator.step(61)
        assert simulator.order(order["id"])["status"] == "replaced"
        assert simulator.order(successor["id"])["status"] == "new"


@pytest.mark.slow
def test_no_answered_order_is_lost_by_kills_at_random_moments(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    settings = {"simulator_market": "history", "simulator_start": "2019-03-04T15:00:00Z"}
    answered: dict[str, str] = {}
    with start_simulator_process(
        tmp_path / "state.sqlite", **settings, simulator_factor=60, simulator_hours="regular"
    ) as simulator:
        for round_ in range(3):
            answered |= trade_until(simulator, draw, round_, time.monotonic() + draw.uniform(1, 3))
            simulator.restart()
            found = {o["client_order_id"]: o["id"] for o in simulator.ledger()["orders"]}
            assert answered.items() <= found.items()
            check_books(simulator.ledger())


def trade_until(
    simulator: SimulatorProcess, draw: random.Random, round_: int, end: float
) -> dict[str, str]:
    answered: dict[str, str] = {}
    number = 0
    while time.monotonic() < end:
        number += 1
        client_id = f"{round_}-{number}"
        body = {
            "symbol": draw.choice(["AAPL", "KO", "MSFT"]),
            "qty": draw.randrange(1, 50),
            "side": draw.choice(["buy", "sell"]),
            "type": "market",
            "time_in_force": "day",
            "client_order_id": client_id,
        }
        try:
            answer = simulator.request("POST", "/v2/orders", json=body)
        except httpx.TransportError:
            break
        if answer.status_code == 200:
            answered[client_id] = answer.json()["id"]
    return answered


def check_books(ledger: dict[str, Any]) -> None:
    """Check that cash and positions are the sum of the executions."""
    cash = Decimal(ledger["opening_cash"])
    held: dict[str, Decimal] = {}
    ids = [fill["execution_id"] for fill in ledger["executions"]]
    assert len(ids) == len(set(ids))
    for fill in ledger["executions"]:
        sign = 1 if fill["side"] == "buy" else -1
        cash -= sign * Decimal(fill["money"]) + Decimal(fill["fee"])
        held[fill["symbol"]] = held.get(fill["symbol"], Decimal(0)) + sign * Decimal(fill["qty"])
    assert Decimal(ledger["cash"]) == cash
    positions = {p["symbol"]: Decimal(p["qty"]) for p in ledger["positions"]}
    assert positions == {symbol: quantity for symbol, quantity in held.items() if quantity}


def test_state_of_another_market_is_refused_by_name(tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite"
    with start_simulator_process(state):
        pass
    with (
        pytest.raises(RuntimeError, match="ended with 2"),
        start_simulator_process(state, simulator_market="synthetic"),
    ):
        pass


def test_unwritable_state_is_a_clear_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with (
        pytest.raises(RuntimeError, match="ended with 2"),
        start_simulator_process(blocked / "state.sqlite"),
    ):
        pass
