"""What the exchange or the broker's desk does by itself, seen on REST, stream and ledger."""

from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path

import pytest

from tests.support.raw_stream import RawStream, raw_stream
from tests.support.simulator import Simulator, start_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as started:
        started.quote("AAPL", "100.00", "100.02")
        yield started


@pytest.fixture
def stream(simulator: Simulator) -> Iterator[RawStream]:
    with raw_stream(simulator) as listening:
        yield listening


def resting(simulator: Simulator, **fields: object) -> str:
    order = simulator.submit("AAPL", "buy", "10", type="limit", limit_price="90.00", **fields)
    return str(order["id"])


def test_bust_is_told_on_the_stream_and_listed_in_the_activities(
    simulator: Simulator, stream: RawStream
) -> None:
    simulator.submit("AAPL", "buy", "10")
    fill = stream.until("fill")
    record = simulator.control(f"executions/{fill['execution_id']}", {"kind": "bust"})
    told = stream.until("trade_bust")
    assert told["previous_execution_id"] == fill["execution_id"]
    assert told["execution_id"] == record["id"].split("::")[1]
    assert (told["qty"], told["price"], told["position_qty"]) == ("10", "100.02", "0")
    assert told["reason"] == "TRADE_BUST"
    assert told["order"]["filled_qty"] == "0"
    rows = simulator.get("/v2/account/activities/FILL")
    assert [(r["type"], r.get("previous_execution_id")) for r in rows] == [
        ("trade_bust", fill["execution_id"]),
        ("fill", None),
    ]
    truth = simulator.ledger()
    assert (truth["cash"], truth["positions"]) == ("1000000", [])
    assert [e["counts"] for e in truth["executions"]] == [False]
    assert [a["kind"] for a in truth["amendments"]] == ["trade_bust"]
    assert simulator.get("/v2/positions") == []


def test_correction_changes_price_and_quantity(simulator: Simulator, stream: RawStream) -> None:
    simulator.submit("AAPL", "buy", "10")
    fill = stream.until("fill")
    wanted = {"kind": "correct", "price": "99.00", "qty": "8"}
    simulator.control(f"executions/{fill['execution_id']}", wanted)
    told = stream.until("trade_correct")
    assert (told["qty"], told["price"], told["position_qty"]) == ("8", "99", "8")
    truth = simulator.ledger()
    assert D(truth["cash"]) == D(1_000_000) - D(792)
    assert [(e["counts"], e["qty"]) for e in truth["executions"]] == [(False, "10"), (True, "8")]
    again = {"kind": "bust"}
    answer = simulator.request("POST", f"/sim/executions/{fill['execution_id']}", json=again)
    assert answer.status_code == 422
    assert "was amended by" in answer.text


@pytest.mark.parametrize(
    ("do", "event", "status"),
    [
        ("reject", "rejected", "rejected"),
        ("cancel", "canceled", "canceled"),
        ("expire", "expired", "expired"),
        ("suspend", "suspended", "suspended"),
        ("stop", "stopped", "stopped"),
        ("calculate", "calculated", "calculated"),
        ("done_for_day", "done_for_day", "done_for_day"),
        ("restate", "restated", "new"),
        ("reject_cancel", "order_cancel_rejected", "new"),
        ("reject_replace", "order_replace_rejected", "new"),
    ],
)
def test_an_order_can_be_made_to_suffer_anything(
    simulator: Simulator, stream: RawStream, do: str, event: str, status: str
) -> None:
    order = resting(simulator)
    simulator.control(f"orders/{order}", {"do": do, "reason": "BY_HAND"})
    told = stream.until(event)
    assert (told["order"]["id"], told["order"]["status"]) == (order, status)
    assert told["reason"] == "BY_HAND"
    assert simulator.order(order)["status"] == status
    assert simulator.trading_client().get_order_by_id(order).status == status


@pytest.mark.parametrize("do", ["suspend", "stop", "calculate", "done_for_day"])
def test_a_paused_order_does_not_trade_until_it_is_resumed(simulator: Simulator, do: str) -> None:
    order = resting(simulator, client_order_id="mine")
    simulator.control("orders/mine", {"do": do})
    simulator.quote("AAPL", "80.00", "80.02")
    assert simulator.order(order)["filled_qty"] == "0"
    simulator.control("orders/mine", {"do": "resume"})
    assert simulator.order(order)["status"] == "filled"


def test_interventions_that_cannot_be_are_refused(simulator: Simulator) -> None:
    order = resting(simulator)
    for body, status in (
        ({"do": "resume"}, 422), ({"do": "fly"}, 422), ({"do": "cancel", "x": 1}, 422),
    ):  # fmt: skip
        assert simulator.request("POST", f"/sim/orders/{order}", json=body).status_code == status
    gone = simulator.request("POST", "/sim/orders/nothing", json={"do": "cancel"})
    assert gone.status_code == 404
    simulator.control(f"orders/{order}", {"do": "cancel"})
    ended = simulator.request("POST", f"/sim/orders/{order}", json={"do": "reject"})
    assert (ended.status_code, "canceled" in ended.text) == (422, True)


def test_only_the_targeted_order_is_rejected_after_accept(
    simulator: Simulator, stream: RawStream
) -> None:
    simulator.fault("reject_order", order="victim*", count=1)
    first = simulator.submit("AAPL", "buy", "1", client_order_id="bystander")
    second = simulator.submit("AAPL", "buy", "1", client_order_id="victim-1")
    assert second["status"] == "pending_new"
    assert stream.until("rejected")["order"]["client_order_id"] == "victim-1"
    assert simulator.order(first["id"])["status"] == "filled"
    assert simulator.order(second["id"])["status"] == "rejected"


def test_a_cancel_can_be_refused_after_it_was_promised(
    simulator: Simulator, stream: RawStream
) -> None:
    order = resting(simulator)
    simulator.fault("cancel_rejected", symbol="AAPL", count=1)
    assert simulator.request("DELETE", f"/v2/orders/{order}").status_code == 204
    assert stream.until("pending_cancel")["order"]["status"] == "pending_cancel"
    assert stream.until("order_cancel_rejected")["order"]["status"] == "new"
    assert simulator.request("DELETE", f"/v2/orders/{order}").status_code == 204
    assert simulator.order(order)["status"] == "canceled"


def test_a_replace_can_be_refused_after_it_was_promised(
    simulator: Simulator, stream: RawStream
) -> None:
    order = resting(simulator)
    simulator.fault("replace_rejected", order=order, count=1)
    answer = simulator.request("PATCH", f"/v2/orders/{order}", json={"limit_price": "91.00"})
    assert (answer.status_code, answer.json()["status"]) == (200, "pending_new")
    assert stream.until("order_replace_rejected")["order"]["id"] == order
    assert simulator.order(order)["status"] == "new"
    assert simulator.order(answer.json()["id"])["status"] == "rejected"


def test_a_cancel_is_refused_while_a_replace_is_pending(simulator: Simulator) -> None:
    simulator.behave(replace_delay_s=5)
    order = resting(simulator)
    answer = simulator.request("PATCH", f"/v2/orders/{order}", json={"limit_price": "91.00"})
    for pending in (order, answer.json()["id"]):
        refused = simulator.request("DELETE", f"/v2/orders/{pending}")
        assert (refused.status_code, refused.json()["code"]) == (422, 42210000)
    simulator.step(6)
    assert simulator.order(order)["status"] == "replaced"


def test_a_halt_can_suspend_orders_and_a_resumption_brings_them_back(
    simulator: Simulator, stream: RawStream
) -> None:
    order = resting(simulator)
    halt = {"symbol": "AAPL", "halted": True, "reason": "news", "suspend_orders": True}
    simulator.control("market", {"halts": [halt]})
    assert stream.until("suspended")["order"]["id"] == order
    immediate = simulator.submit("AAPL", "buy", "1", time_in_force="ioc")
    assert simulator.order(immediate["id"])["status"] == "canceled"
    simulator.quote("AAPL", "80.00", "80.02")
    assert simulator.order(order)["status"] == "suspended"
    simulator.control("market", {"halts": [{"symbol": "AAPL", "halted": False}]})
    told = [stream.until("new")["order"]["id"] for _ in range(2)]
    assert told == [immediate["id"], order]
    assert simulator.order(order)["status"] == "filled"


def test_done_for_day_goes_on_the_next_day(simulator: Simulator) -> None:
    order = resting(simulator, time_in_force="gtc")
    simulator.control(f"orders/{order}", {"do": "done_for_day"})
    simulator.step_to("next_open")
    assert simulator.order(order)["status"] == "new"


def test_cash_moves_without_a_trade(simulator: Simulator) -> None:
    fee = {"type": "FEE", "net_amount": "-1.25", "sub_type": "REG", "description": "TAF fee"}
    assert simulator.control("activities", fee)["cash"] == "999998.75"
    simulator.control("activities", {"type": "JNLC", "net_amount": "500"})
    rows = simulator.get("/v2/account/activities", activity_types="FEE,JNLC")
    assert [(r["activity_type"], r["net_amount"]) for r in rows] == [
        ("JNLC", "500"),
        ("FEE", "-1.25"),
    ]
    assert simulator.account()["cash"] == simulator.ledger()["cash"] == "1000498.75"
    assert rows[1]["activity_sub_type"] == "REG"
    for bad in ({"type": "SPLIT"}, {"type": "fee"}, {"type": "FEE", "net_amount": "1.00001"}):
        body = {"net_amount": "1", **bad}
        assert simulator.request("POST", "/sim/activities", json=body).status_code == 422


def test_prices_jump_on_request(simulator: Simulator) -> None:
    simulator.submit("AAPL", "buy", "10")
    stop = simulator.submit("AAPL", "sell", "10", type="stop", stop_price="95.00")
    simulator.control("market", {"jumps": [{"symbol": "AAPL", "percent": "-20"}]})
    filled = simulator.order(stop["id"])
    assert (filled["status"], filled["filled_avg_price"]) == ("filled", "80")


def test_split_reaches_holding_bracket_and_activities(
    simulator: Simulator, stream: RawStream
) -> None:
    entry = simulator.submit(
        "AAPL", "buy", "10", order_class="bracket",
        take_profit={"limit_price": "120.00"}, stop_loss={"stop_price": "90.00"},
    )  # fmt: skip
    stream.until("fill")
    action = {"symbol": "AAPL", "kind": "split", "ratio": "4"}
    simulator.control("market", {"actions": [action]})
    told = [stream.until("restated") for _ in range(2)]
    assert {t["reason"] for t in told} == {"CORPORATE_ACTION"}
    legs = simulator.order(entry["id"])["legs"]
    assert {leg["type"]: (leg["qty"], leg["limit_price"], leg["stop_price"]) for leg in legs} == {
        "limit": ("40", "30", None),
        "stop": ("40", None, "22.5"),
    }
    (row,) = simulator.get("/v2/account/activities/SPLIT")
    assert (row["qty"], row["net_amount"], row["activity_sub_type"]) == ("30", "0", "FSPLIT")
    assert simulator.get("/v2/positions/AAPL")["qty"] == "40"


def test_reverse_split_pays_fractions(simulator: Simulator) -> None:
    simulator.submit("AAPL", "buy", "105")
    simulator.trade("AAPL", "100.00")
    action = {"symbol": "AAPL", "kind": "split", "ratio": "0.1"}
    simulator.control("market", {"actions": [action]})
    rows = simulator.get("/v2/account/activities", activity_types="SPLIT,CIL", direction="asc")
    assert [(r["activity_type"], r["qty"], r["net_amount"]) for r in rows] == [
        ("SPLIT", "-105", "0"),
        ("SPLIT", "10.5", "0"),
        ("CIL", "-0.5", "500"),
    ]
    assert simulator.get("/v2/positions/AAPL")["qty"] == "10"


def test_amendments_outlive_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    with start_simulator(simulator_state=state) as simulator:
        simulator.quote("AAPL", "100.00", "100.02")
        simulator.submit("AAPL", "buy", "10")
        simulator.submit("AAPL", "buy", "5")
        first, second = [e["execution_id"] for e in simulator.ledger()["executions"]]
        simulator.control(f"executions/{first}", {"kind": "bust"})
        simulator.control(f"executions/{second}", {"kind": "correct", "qty": "4"})
        before = simulator.ledger()
    with start_simulator(simulator_state=state) as simulator:
        assert simulator.ledger() == before
