"""Alpaca's own stream clients against the simulated broker, over real sockets."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal as D

import msgpack
import pytest
import websockets.sync.client as plain_websocket
from alpaca.trading.enums import TradeEvent

from tests.support.simulator import KEY, SECRET, Simulator, start_simulator
from tests.support.stream_ears import Ears, running


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with start_simulator() as started:
        started.quote("AAPL", "100.00", "100.02")
        yield started


def events(heard: list[object]) -> list[str]:
    return [str(getattr(update.event, "value", update.event)) for update in heard]  # type: ignore[attr-defined]


def test_trade_updates_tell_new_and_fill_with_execution_and_position(simulator: Simulator) -> None:
    ears, stream = Ears(), simulator.trading_stream()
    stream.subscribe_trade_updates(ears.hear)
    with running(stream):
        wait_listening(simulator)
        simulator.submit("AAPL", "buy", "10", client_order_id="mine")
        new, fill = ears.wait(lambda heard: len(heard) >= 2)
    assert (new.event, fill.event) == (TradeEvent.NEW, TradeEvent.FILL)
    assert (fill.order.client_order_id, fill.qty, fill.price) == ("mine", 10, 100.02)
    assert fill.position_qty == 10
    assert str(fill.execution_id) == simulator.ledger()["executions"][0]["execution_id"]


def test_updates_go_to_their_own_account_only(simulator: Simulator) -> None:
    simulator.control("accounts", {"key": "other", "secret": "pair"})
    ears, stream = Ears(), simulator.trading_stream()
    stream.subscribe_trade_updates(ears.hear)
    with running(stream):
        wait_listening(simulator)
        headers = {"APCA-API-KEY-ID": "other", "APCA-API-SECRET-KEY": "pair"}
        order = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market"}
        answer = simulator.request(
            "POST", "/v2/orders", json={**order, "time_in_force": "day"}, headers=headers
        )
        assert answer.status_code == 200
        simulator.submit("AAPL", "buy", "2")
        heard = ears.wait(lambda said: len(said) >= 2)
    assert {update.order.qty for update in heard} == {"2"}


def test_wrong_key_is_not_authorized_on_the_trading_stream(simulator: Simulator) -> None:
    with plain_websocket.connect(simulator.stream_url) as socket:
        socket.send('{"action":"authenticate","data":{"key_id":"x","secret_key":"y"}}')
        assert '"unauthorized"' in str(socket.recv(5))


def test_trading_stream_answers_binary_frames_with_binary(simulator: Simulator) -> None:
    with plain_websocket.connect(simulator.stream_url) as socket:
        login = f'{{"action":"authenticate","data":{{"key_id":"{KEY}","secret_key":"{SECRET}"}}}}'
        socket.send(login.encode())
        assert isinstance(socket.recv(5), bytes)


def test_quotes_and_trades_arrive_as_they_happen(simulator: Simulator) -> None:
    ears, stream = Ears(), simulator.data_stream()
    stream.subscribe_quotes(ears.hear, "AAPL")
    stream.subscribe_trades(ears.hear, "*")
    with running(stream):
        simulator.quote("KO", "50.00", "50.01")  # not subscribed
        simulator.quote("AAPL", "101.00", "101.03", 300, 400)
        simulator.trade("KO", "50.01", 70)
        quote, trade = ears.wait(lambda heard: len(heard) >= 2)
    assert (quote.symbol, quote.bid_price, quote.ask_price) == ("AAPL", 101.0, 101.03)
    assert (quote.bid_size, quote.ask_size) == (300, 400)
    assert quote.timestamp == datetime(2019, 3, 4, 15, tzinfo=UTC)
    assert (trade.symbol, trade.price, trade.size) == ("KO", 50.01, 70)


def test_minute_bars_close_with_the_minute_and_corrections_follow(simulator: Simulator) -> None:
    bars, corrections, stream = Ears(), Ears(), simulator.data_stream()
    stream.subscribe_bars(bars.hear, "AAPL")
    stream.subscribe_updated_bars(corrections.hear, "AAPL")
    with running(stream):
        simulator.trade("AAPL", "100.00", 100)
        simulator.step(10)
        simulator.trade("AAPL", "101.00", 300)
        simulator.step(50)
        (bar,) = bars.wait(lambda heard: len(heard) == 1)
        simulator.trade("AAPL", "102.00", 100, ts="2019-03-04T15:00:59Z")
        (late,) = corrections.wait(lambda heard: len(heard) == 1)
    assert bar.timestamp == datetime(2019, 3, 4, 15, tzinfo=UTC)
    assert (bar.open, bar.high, bar.low, bar.close) == (100, 101, 100, 101)
    assert (bar.volume, bar.trade_count, bar.vwap) == (400, 2, 100.75)
    assert (late.high, late.volume) == (102, 500)


def test_halts_are_announced(simulator: Simulator) -> None:
    ears, stream = Ears(), simulator.data_stream()
    stream.subscribe_trading_statuses(ears.hear, "AAPL")
    with running(stream):
        simulator.control("market", {"halts": [{"symbol": "AAPL", "halted": True}]})
        (status,) = ears.wait(lambda heard: len(heard) == 1)
    assert status.status_code == "H"


def test_unsubscribing_ends_the_flow(simulator: Simulator) -> None:
    ears, stream = Ears(), simulator.data_stream()
    stream.subscribe_quotes(ears.hear, "AAPL", "KO")
    with running(stream):
        stream.unsubscribe_quotes("AAPL")
        simulator.quote("AAPL", "1.00", "1.01")
        simulator.quote("KO", "2.00", "2.01")
        ears.wait(lambda heard: len(heard) == 1)
    assert [quote.symbol for quote in ears.heard] == ["KO"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"action": "subscribe", "quotes": ["AAPL"]}, 401),
        ({"action": "auth", "key": "no", "secret": "no"}, 402),
        ({"action": "dance"}, 400),
        ({"action": "subscribe", "quotes": "AAPL"}, 401),
    ],
)
def test_data_stream_errors_carry_alpacas_codes(
    simulator: Simulator, message: dict[str, object], code: int
) -> None:
    headers = {"Content-Type": "application/msgpack"}
    with plain_websocket.connect(
        simulator.data_stream_url, additional_headers=headers, compression=None
    ) as socket:
        assert msgpack.unpackb(socket.recv(5))[0]["msg"] == "connected"  # type: ignore[arg-type]
        socket.send(msgpack.packb(message))
        assert msgpack.unpackb(socket.recv(5))[0]["code"] == code  # type: ignore[arg-type]


def test_data_stream_speaks_json_to_those_who_do_not_ask_for_msgpack(simulator: Simulator) -> None:
    with plain_websocket.connect(simulator.data_stream_url, compression=None) as socket:
        assert socket.recv(5) == '[{"T":"success","msg":"connected"}]'
        socket.send(f'{{"action":"auth","key":"{KEY}","secret":"{SECRET}"}}')
        assert socket.recv(5) == '[{"T":"success","msg":"authenticated"}]'
        socket.send('{"action":"subscribe","quotes":["AAPL"]}')
        assert '"quotes":["AAPL"]' in str(socket.recv(5))
        simulator.quote("AAPL", "100.00", "100.02")
        assert '"t":"2019-03-04T15:00:00Z"' in str(socket.recv(5))


def test_position_is_told_in_each_partial_fill(simulator: Simulator) -> None:
    ears, stream = Ears(), simulator.trading_stream()
    stream.subscribe_trade_updates(ears.hear)
    with running(stream):
        wait_listening(simulator)
        simulator.quote("AAPL", "100.00", "100.02", 100, 4)
        simulator.submit("AAPL", "buy", "10", type="limit", limit_price=100.02)
        simulator.quote("AAPL", "100.00", "100.02", 100, 100)
        heard = ears.wait(lambda said: len(said) >= 3)
    assert events(heard) == ["new", "partial_fill", "fill"]
    assert [update.position_qty for update in heard] == [None, 4, 10]
    assert [D(str(update.order.filled_qty)) for update in heard] == [0, 4, 10]


def wait_listening(simulator: Simulator) -> None:
    """Return once the trading stream's client has subscribed; its `listening` is not shown."""
    import time

    deadline = time.monotonic() + 10
    while simulator.get("/sim/state")["trading_listeners"] < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
