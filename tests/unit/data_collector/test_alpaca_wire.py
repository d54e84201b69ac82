"""Alpaca's frames, whole, odd and broken, down to the nanosecond."""

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.messages import Bar, Quote, TradeTick
from services.data_collector.adapters.alpaca_wire import (
    Refused,
    Subscription,
    Success,
    auth_message,
    read_frame,
    subscribe_message,
)
from tests.support.market_feed import stamp, wire_bar, wire_quote, wire_trade

NS = 1_381_152_600_123_456_789


def frame(*messages: Any) -> bytes:
    data: bytes = msgpack.packb(list(messages))
    return data


def test_quotes_trades_and_bars_come_out_as_ours() -> None:
    read = read_frame(
        frame(
            wire_quote("IBM", NS, 183.61, 183.63, 3),
            wire_trade("IBM", NS + 1, 183.62, 100),
            wire_bar("IBM", NS + 2, 183.5),
        )
    )
    assert read.ticks == [
        ("IBM", Quote(ts_event=NS, bid=183.61, ask=183.63, bid_size=3.0, ask_size=3.0)),
        ("IBM", TradeTick(ts_event=NS + 1, price=183.62, size=100.0, conditions=("@",))),
        (
            "IBM",
            Bar(
                timeframe="1m", ts_event=NS + 2, open=183.5, high=183.5, low=183.5, close=183.5,
                volume=100.0, vwap=183.5, trades=1,
            ),
        ),
    ]  # fmt: skip
    assert (read.unknown, read.malformed) == (0, 0)


def test_control_messages_are_told_apart() -> None:
    read = read_frame(
        frame(
            {"T": "success", "msg": "connected"},
            {"T": "subscription", "quotes": ["IBM"], "statuses": ["*"]},
            {"T": "error", "code": 406, "msg": "connection limit exceeded"},
        )
    )
    assert read.control == [
        Success("connected"),
        Subscription(quotes=("IBM",)),
        Refused(406, "connection limit exceeded"),
    ]


@pytest.mark.parametrize(
    ("odd", "unknown", "malformed"),
    [
        ({"T": "l", "S": "IBM", "u": 1, "d": 1}, 1, 0),
        ({"T": "brand-new", "S": "IBM"}, 1, 0),
        ({"S": "IBM"}, 1, 0),
        ({"T": "q", "S": "IBM", "t": "2013-10-07T13:30:00Z", "bp": 1.0, "ap": 1.0}, 0, 1),
        ({"T": "q", "S": "IBM", "t": stamp(NS), "bp": "1.0", "ap": 1.0}, 0, 1),
        ({"T": "q", "S": "IBM", "t": stamp(NS), "ap": 1.0}, 0, 1),
        ({"T": "q", "S": "", "t": stamp(NS), "bp": 1.0, "ap": 1.0}, 0, 1),
        ({"T": "q", "S": "I\x00M", "t": stamp(NS), "bp": 1.0, "ap": 1.0}, 0, 1),
        ({"T": "q", "S": "IBM", "t": msgpack.ExtType(5, b"12345678"), "bp": 1.0, "ap": 1.0}, 0, 1),
        (17, 0, 1),
        (None, 0, 1),
    ],
)
def test_odd_message_costs_itself_alone(odd: Any, unknown: int, malformed: int) -> None:
    good = wire_quote("IBM", NS, 1.0, 1.0)
    read = read_frame(frame(good, odd, good))
    assert len(read.ticks) == 2
    assert (read.unknown, read.malformed) == (unknown, malformed)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_whatever_raise(data: bytes) -> None:
    read_frame(data)


@settings(deadline=None)
@given(st.integers(0, 2**62))
def test_every_timestamp_keeps_its_nanoseconds(ns: int) -> None:
    ((_, tick),) = read_frame(frame(wire_quote("IBM", ns, 1.0, 1.0))).ticks
    assert tick.ts_event == ns


def test_what_we_say_is_what_alpaca_expects() -> None:
    assert msgpack.unpackb(auth_message("k", "s")) == {"action": "auth", "key": "k", "secret": "s"}
    assert msgpack.unpackb(subscribe_message(("IBM",))) == {
        "action": "subscribe", "quotes": ["IBM"], "trades": ["IBM"], "bars": ["IBM"],
    }  # fmt: skip
