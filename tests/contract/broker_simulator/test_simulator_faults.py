"""Each fault switch does what it says: on the wire, and never to the truth."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from alpaca.trading.enums import OrderStatus

from tests.support.simulator import Simulator, start_simulator
from tests.support.stream_ears import Ears, running

ORDER = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as started:
        started.quote("AAPL", "100.00", "100.02")
        yield started


@pytest.fixture
def ears(simulator: Simulator) -> Iterator[Ears]:
    said, stream = Ears(), simulator.trading_stream()
    stream.subscribe_trade_updates(said.hear)
    with running(stream):
        deadline = time.monotonic() + 10
        while simulator.get("/sim/state")["trading_listeners"] < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield said


def post(simulator: Simulator, client_id: str) -> httpx.Response:
    return simulator.request("POST", "/v2/orders", json={**ORDER, "client_order_id": client_id})


def test_lost_answer_leaves_the_order_accepted(simulator: Simulator) -> None:
    simulator.fault("lost_answer", method="POST", path="/v2/orders", count=1)
    with pytest.raises(httpx.TransportError):
        post(simulator, "lost")
    found = simulator.get("/v2/orders:by_client_order_id", client_order_id="lost")
    assert found["status"] == "filled"
    assert post(simulator, "next").status_code == 200


@pytest.mark.parametrize("status", [500, 504])
def test_error_after_accept_leaves_the_order_accepted(simulator: Simulator, status: int) -> None:
    simulator.fault("error_after", method="POST", path="/v2/orders", status=status, count=1)
    answer = post(simulator, "late")
    assert answer.status_code == status
    assert isinstance(answer.json()["code"], int)
    assert len(simulator.ledger()["executions"]) == 1


def test_error_before_and_dropped_request_leave_nothing(simulator: Simulator) -> None:
    simulator.fault("error_before", method="POST", path="/v2/orders", status=503, count=1)
    assert post(simulator, "a").status_code == 503
    simulator.clear_faults()
    simulator.fault("drop_request", method="POST", path="/v2/orders", count=1)
    with pytest.raises(httpx.TransportError):
        post(simulator, "b")
    assert simulator.ledger()["orders"] == []


def test_rate_limit_answers_429_with_headers(simulator: Simulator) -> None:
    simulator.fault("rate_limit", count=2)
    answer = post(simulator, "a")
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (429, "0")
    assert post(simulator, "a").status_code == 429
    assert post(simulator, "a").status_code == 200


def test_latency_delays_the_request(simulator: Simulator) -> None:
    simulator.fault("latency", path="/v2/account", seconds=0.3, count=1)
    begun = time.monotonic()
    simulator.account()
    assert time.monotonic() - begun >= 0.3


def test_garbled_answer_is_not_json(simulator: Simulator) -> None:
    simulator.fault("garbled_answer", path="/v2/account", count=1)
    with pytest.raises(json.JSONDecodeError):
        simulator.request("GET", "/v2/account").json()


def test_duplicated_events_carry_the_same_execution(simulator: Simulator, ears: Ears) -> None:
    simulator.fault("duplicate", stream="trading", event="fill")
    simulator.submit("AAPL", "buy", "1")
    heard = ears.wait(lambda said: len(said) >= 3)
    fills = [u.execution_id for u in heard if u.execution_id is not None]
    assert len(fills) == 2
    assert len(set(fills)) == 1


def test_reordered_events_swap(simulator: Simulator, ears: Ears) -> None:
    simulator.fault("reorder", stream="trading", event="new", count=1)
    simulator.submit("AAPL", "buy", "1")
    heard = ears.wait(lambda said: len(said) >= 2)
    assert [str(u.event) for u in heard] == ["fill", "new"]


def test_missing_event_never_comes_and_rest_tells(simulator: Simulator, ears: Ears) -> None:
    simulator.fault("missing", stream="trading", event="fill", count=1)
    order = simulator.submit("AAPL", "buy", "1")
    simulator.submit("AAPL", "buy", "1")
    heard = ears.wait(lambda said: len(said) >= 3)
    assert [str(u.event) for u in heard] == ["new", "new", "fill"]
    assert simulator.order(order["id"])["status"] == "filled"


def test_delayed_event_comes_late(simulator: Simulator, ears: Ears) -> None:
    simulator.fault("delay", stream="trading", event="new", seconds=0.3, count=1)
    simulator.submit("AAPL", "buy", "1")
    heard = ears.wait(lambda said: len(said) >= 2)
    assert [str(u.event) for u in heard] == ["fill", "new"]


def test_mute_stream_stays_connected_and_says_nothing(simulator: Simulator, ears: Ears) -> None:
    simulator.fault("mute", stream="trading")
    simulator.submit("AAPL", "buy", "1")
    time.sleep(0.3)
    assert ears.heard == []
    assert simulator.get("/sim/state")["trading_connections"] == 1
    simulator.clear_faults()
    simulator.submit("AAPL", "buy", "1")
    ears.wait(lambda said: len(said) >= 2)


def test_dropped_stream_connects_again(simulator: Simulator, ears: Ears) -> None:
    simulator.disconnect("trading")
    deadline = time.monotonic() + 15
    while simulator.get("/sim/state")["trading_listeners"] > 0:
        assert time.monotonic() < deadline
    while simulator.get("/sim/state")["trading_listeners"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    simulator.submit("AAPL", "buy", "1")
    ears.wait(lambda said: len(said) >= 2)


def test_muted_and_missing_quotes(simulator: Simulator) -> None:
    said, stream = Ears(), simulator.data_stream()
    stream.subscribe_quotes(said.hear, "AAPL")
    with running(stream):
        simulator.fault("missing", stream="data", event="q", count=1)
        simulator.quote("AAPL", "101.00", "101.02")
        simulator.quote("AAPL", "102.00", "102.02")
        heard = said.wait(lambda quotes: len(quotes) >= 1)
    assert [quote.bid_price for quote in heard] == [102.0]


def test_stale_feed_stops_while_the_market_moves_on(simulator: Simulator) -> None:
    said, stream = Ears(), simulator.data_stream()
    stream.subscribe_quotes(said.hear, "AAPL")
    with running(stream):
        simulator.fault("stale_feed")
        simulator.quote("AAPL", "101.00", "101.02")
        assert simulator.submit("AAPL", "buy", "1")["status"] == "pending_new"
        time.sleep(0.2)
    assert said.heard == []
    assert simulator.ledger()["executions"][0]["price"] == "101.02"


def test_refused_connections_come_back(simulator: Simulator) -> None:
    simulator.refuse(0.5)
    deadline = time.monotonic() + 5
    with pytest.raises(httpx.ConnectError):
        keep_asking(f"{simulator.url}/health", deadline)
    while time.monotonic() < deadline + 5:
        try:
            assert simulator.get("/health")["status"] == "alive"
            break
        except httpx.TransportError:
            time.sleep(0.05)
    assert post(simulator, "after").status_code == 200


def keep_asking(url: str, deadline: float) -> None:
    while time.monotonic() < deadline:
        httpx.get(url, trust_env=False)
        time.sleep(0.02)


def test_unknown_fields_and_statuses(simulator: Simulator) -> None:
    order = simulator.submit("AAPL", "buy", "1")
    simulator.fault("unknown_field")
    client = simulator.trading_client()
    assert client.get_order_by_id(order["id"]).status is OrderStatus.FILLED
    simulator.fault("unknown_status", count=1)
    with pytest.raises(ValueError, match="pending_quantum"):
        client.get_order_by_id(order["id"])


def test_clock_skew_shows_in_alpacas_clock_only(simulator: Simulator) -> None:
    simulator.fault("clock_skew", seconds=-120)
    assert simulator.get("/v2/clock")["timestamp"] == "2019-03-04T14:58:00Z"
    assert simulator.clock()["now"].startswith("2019-03-04T15:00:00")


def test_cancel_delay_lets_a_fill_through(simulator: Simulator) -> None:
    simulator.behave(cancel_delay_s=10)
    order = simulator.submit("AAPL", "buy", "5", type="limit", limit_price=99)
    assert simulator.request("DELETE", f"/v2/orders/{order['id']}").status_code == 204
    assert simulator.order(order["id"])["status"] == "pending_cancel"
    simulator.quote("AAPL", "98.90", "98.92")
    simulator.step(11)
    assert simulator.order(order["id"])["status"] == "filled"


def test_acknowledgement_delay_is_market_time(simulator: Simulator) -> None:
    simulator.behave(ack_delay_s=2)
    order = simulator.submit("AAPL", "buy", "5")
    assert simulator.order(order["id"])["status"] == "pending_new"
    simulator.step(2)
    assert simulator.order(order["id"])["status"] == "filled"


def test_same_seed_strikes_the_same_requests() -> None:
    def struck() -> list[int]:
        with start_simulator(simulator_seed=11) as simulator:
            simulator.fault("error_before", path="/v2/account", probability=0.5)
            return [simulator.request("GET", "/v2/account").status_code for _ in range(20)]

    first = struck()
    assert first == struck()
    assert set(first) == {200, 504}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"faults": [{"kind": "gremlins"}]}, "gremlins"),
        ({"faults": [{"kind": "mute", "wat": 1}]}, "wat"),
        ({"faults": [{"kind": "mute", "probability": 2}]}, "probability"),
        ({"behaviour": {"ack_delay_s": "soon"}}, "ack_delay_s"),
        ({"refuse_s": -1}, "refuse_s"),
    ],
)
def test_bad_switches_are_refused_by_name(
    simulator: Simulator, body: dict[str, object], word: str
) -> None:
    answer = simulator.request("POST", "/sim/faults", json=body)
    assert 400 <= answer.status_code < 500
    assert word in answer.text


def test_faults_are_listed_with_their_hits(simulator: Simulator) -> None:
    simulator.fault("rate_limit", count=1)
    post(simulator, "a")
    (fault,) = simulator.get("/sim/faults")["items"]
    assert (fault["kind"], fault["hits"]) == ("rate_limit", 1)
    simulator.request("DELETE", f"/sim/faults/{fault['id']}")
    assert simulator.get("/sim/faults")["items"] == []


def test_a_run_can_begin_with_a_plan_of_faults(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"faults": [{"kind": "rate_limit", "path": "/v2/account", "count": 1}]}')
    with start_simulator(simulator_faults=plan) as simulator:
        answers = [simulator.request("GET", "/v2/account").status_code for _ in range(2)]
    assert answers == [429, 200]
