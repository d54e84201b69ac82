"""Answers, frames and fields that a client cannot read, and plans that bring them about."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.raw_stream import raw_stream
from tests.support.simulator import Simulator, start_simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as started:
        started.quote("AAPL", "100.00", "100.02")
        yield started


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("list", list), ("object", dict), ("number", int), ("string", str), ("null", type(None)),
    ],
)  # fmt: skip
def test_answers_of_a_wrong_shape(simulator: Simulator, form: str, body: type) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form=form, count=1)
    answer = simulator.request("GET", "/v2/account")
    assert answer.status_code == 200
    assert isinstance(answer.json(), body)
    if body is dict:
        assert "cash" not in answer.json()


@pytest.mark.parametrize("form", ["truncated", "html", "empty", "rubbish"])
@pytest.mark.parametrize("status", [200, 502])
def test_answers_that_are_no_json(simulator: Simulator, form: str, status: int) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form=form, status=status, count=1)
    answer = simulator.request("GET", "/v2/account")
    assert answer.status_code == status
    with pytest.raises(ValueError, match=r"Expecting|decode|Extra|Unterminated"):
        json.loads(answer.content)
    assert simulator.account()["status"] == "ACTIVE"


def test_a_deep_answer(simulator: Simulator) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form="deep", count=1)
    assert simulator.request("GET", "/v2/account").content.startswith(b"[[[[[")


def test_a_huge_answer_is_streamed_and_valid(simulator: Simulator) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form="huge", size=3_000_000, count=1)
    answer = simulator.request("GET", "/v2/account")
    assert len(answer.content) > 3_000_000
    assert answer.json()["cash"] == "1000000"


def test_a_short_answer_breaks_off(simulator: Simulator) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form="short", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        simulator.request("GET", "/v2/account")
    assert simulator.account()["cash"] == "1000000"


def test_an_answer_that_trickles_ends_with_the_clients_patience(simulator: Simulator) -> None:
    simulator.fault("garbled_answer", path="/v2/account", form="trickle", seconds=0.02, count=1)
    headers = {"APCA-API-KEY-ID": simulator.key, "APCA-API-SECRET-KEY": simulator.secret}
    received = 0
    with httpx.stream("GET", f"{simulator.url}/v2/account", headers=headers) as answer:
        for piece in answer.iter_raw():
            received += len(piece)
            if received >= 5:
                break
    assert received >= 5
    assert simulator.account()["cash"] == "1000000"


def test_a_garbled_answer_to_a_post_leaves_the_order(simulator: Simulator) -> None:
    simulator.fault("garbled_answer", method="POST", path="/v2/orders", form="html", count=1)
    body = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    simulator.request("POST", "/v2/orders", json={**body, "client_order_id": "mine"})
    found = simulator.get("/v2/orders:by_client_order_id", client_order_id="mine")
    assert found["status"] == "filled"


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("truncated", True), ("list", True), ("number", True), ("null", True), ("html", True),
        ("empty", True), ("rubbish", True), ("rubbish", False), ("deep", False),
    ],
)  # fmt: skip
def test_garbled_frames_replace_one_event_and_the_stream_goes_on(
    simulator: Simulator, form: str, text: bool
) -> None:
    with raw_stream(simulator, text=text) as stream:
        simulator.fault("garbled_frame", event="new", form=form, count=1)
        simulator.submit("AAPL", "buy", "1")
        frame = stream.frame()
        assert isinstance(frame, bytes) is (not text or form == "rubbish")
        raw = frame if isinstance(frame, bytes) else frame.encode()
        assert not raw.startswith(b'{"stream":"trade_updates"') or form == "truncated"
        assert stream.update()["event"] == "fill"


def test_a_huge_frame_is_sent_whole(simulator: Simulator) -> None:
    with raw_stream(simulator) as stream:
        simulator.fault("garbled_frame", event="new", form="huge", size=9_000_000, count=1)
        simulator.submit("AAPL", "buy", "1")
        frame = stream.frame()
        assert len(frame) > 8_388_608  # more than the buffer of a slow client
        assert json.loads(frame)["data"]["event"] == "new"
        assert stream.update()["event"] == "fill"


OBJECTS: list[tuple[str, str, str]] = [
    ("account", "/v2/account", "cash"),
    ("position", "/v2/positions/AAPL", "avg_entry_price"),
    ("activity", "/v2/account/activities", "qty"),
    ("order", "/v2/orders", "filled_avg_price"),
]


def one(simulator: Simulator, path: str) -> Any:
    body = simulator.get(path, **({"status": "all"} if path == "/v2/orders" else {}))
    return body[0] if isinstance(body, list) else body


@pytest.mark.parametrize(("what", "path", "field"), OBJECTS)
def test_fields_too_many_missing_and_wrong_in_every_object(
    simulator: Simulator, what: str, path: str, field: str
) -> None:
    simulator.submit("AAPL", "buy", "1")
    simulator.fault("unknown_field", object=what)
    assert one(simulator, path)["surprise"] == {"nested": [1, 2, 3]}
    simulator.clear_faults()
    assert field in one(simulator, path)
    simulator.fault("missing_field", object=what)
    assert field not in one(simulator, path)
    simulator.clear_faults()
    for value in (["a"], None, 12.5, {"x": 1}, "NaN", True):
        simulator.fault("wrong_field", object=what, field=field, value=value)
        assert one(simulator, path)[field] == value
        simulator.clear_faults()
    simulator.fault("unknown_status", object=what)
    changed = json.dumps(one(simulator, path))
    assert any(word in changed for word in ("QUANTUM", "quantum", "sideways"))


def test_wrong_fields_in_stream_events(simulator: Simulator) -> None:
    with raw_stream(simulator) as stream:
        simulator.fault(
            "wrong_field", object="update", event="fill", field="qty", value=[], count=1
        )
        simulator.fault("unknown_status", object="update", event="new", count=1)
        simulator.submit("AAPL", "buy", "1")
        assert stream.update()["event"] == "quantum_leap"
        fill = stream.update()
        assert (fill["event"], fill["qty"]) == ("fill", [])


def test_a_plan_turns_faults_on_and_off_and_lists_them(simulator: Simulator) -> None:
    plan = {
        "seed": 3, "kinds": ["latency", "unknown_field", "slow_exchange"], "count": 6,
        "rate_per_minute": 1200, "seconds": 0.05, "seconds_max": 0.2,
    }  # fmt: skip

    def run() -> Any:
        simulator.control("faults", {"plan": plan})
        deadline = time.monotonic() + 15
        while (shown := simulator.get("/sim/faults"))["plan"]["running"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert shown["items"] == []
        assert shown["behaviour"]["ack_delay_s"] == 0
        assert all(i["on_s"] >= i["at_s"] - 0.01 for i in shown["plan"]["items"])
        assert all(i["off_s"] >= i["on_s"] for i in shown["plan"]["items"])
        return [(i["number"], i["kind"], i["at_s"], i["seconds"]) for i in shown["plan"]["items"]]

    first = run()
    assert len(first) == 6
    assert run() == first


def test_a_plan_ends_with_all_faults(simulator: Simulator) -> None:
    plan = {"seed": 3, "kinds": ["mute"], "until_s": 600, "rate_per_minute": 6000, "seconds": 60}
    simulator.control("faults", {"plan": {**plan, "seconds_max": 60}})
    deadline = time.monotonic() + 15
    while not simulator.get("/sim/faults")["items"]:
        assert time.monotonic() < deadline
    simulator.clear_faults()
    shown = simulator.get("/sim/faults")
    assert (shown["items"], shown["plan"]) == ([], None)
