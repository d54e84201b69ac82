"""Alpaca's market data frames: msgpack arrays in, our ticks out.

One frame is decoded in one call into typed records. A frame that this call refuses (an unknown
message type, a field of another type) is taken apart message by message, so that one odd message
costs itself alone.
"""

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.msgpack import Ext

from libs.common.contracts.messages import Bar, Quote, TradeTick
from libs.common.kernel.clock import NS_PER_SECOND

_TIMESTAMP_EXT = -1
_SymbolText = Annotated[str, Meta(pattern=r"^[A-Z0-9./-]{1,32}$")]


class _Quote(msgspec.Struct, frozen=True, tag_field="T", tag="q"):
    S: _SymbolText
    t: Ext
    bp: float
    ap: float
    bs: float = 0.0
    as_: float = msgspec.field(default=0.0, name="as")


class _Trade(msgspec.Struct, frozen=True, tag_field="T", tag="t"):
    S: _SymbolText
    t: Ext
    p: float
    s: float
    c: tuple[str, ...] | None = None


class _Bar(msgspec.Struct, frozen=True, tag_field="T", tag="b"):
    S: _SymbolText
    t: Ext
    o: float
    h: float
    l: float  # noqa: E741 - the wire's name
    c: float
    v: float
    vw: float = 0.0
    n: int = 0


class Success(msgspec.Struct, frozen=True, tag_field="T", tag="success"):
    """The server's yes: `connected` or `authenticated`."""

    msg: str = ""


class Subscription(msgspec.Struct, frozen=True, tag_field="T", tag="subscription"):
    """What the server will send from now on."""

    quotes: tuple[str, ...] = ()
    trades: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()


class Refused(msgspec.Struct, frozen=True, tag_field="T", tag="error"):
    """The server's no, with Alpaca's code: 402 bad key, 406 connection limit, 407 too slow."""

    code: int = 0
    msg: str = ""


Control: TypeAlias = Success | Subscription | Refused
_Message: TypeAlias = _Quote | _Trade | _Bar | Success | Subscription | Refused


class _Kind(msgspec.Struct, frozen=True):
    T: str = ""


@dataclass(slots=True)
class Frame:
    """What one frame said. `unknown` counts message types we do not use, `malformed` the
    messages that break their own type's shape."""

    ticks: list[tuple[str, Quote | TradeTick | Bar]] = field(default_factory=list)
    control: list[Control] = field(default_factory=list)
    unknown: int = 0
    malformed: int = 0


_FRAME = msgspec.msgpack.Decoder(list[_Message])
_RAW_FRAME = msgspec.msgpack.Decoder(list[msgspec.Raw])
_ONE = msgspec.msgpack.Decoder(_Message)
_KIND = msgspec.msgpack.Decoder(_Kind)
_KNOWN = frozenset({"q", "t", "b", "success", "subscription", "error"})


def read_frame(data: bytes) -> Frame:
    """Decode one frame; never raises, what can't be read is counted."""
    frame = Frame()
    try:
        messages = _FRAME.decode(data)
    except msgspec.MsgspecError:
        messages = _one_by_one(data, frame)
    for message in messages:
        try:
            _take(message, frame)
        except ValueError:
            frame.malformed += 1
    return frame


def _one_by_one(data: bytes, frame: Frame) -> list[_Message]:
    try:
        parts = _RAW_FRAME.decode(data)
    except msgspec.MsgspecError:
        frame.malformed += 1
        return []
    messages: list[_Message] = []
    for part in parts:
        try:
            messages.append(_ONE.decode(part))
        except msgspec.MsgspecError:
            if _is_known(part):
                frame.malformed += 1
            else:
                frame.unknown += 1
    return messages


def _is_known(part: msgspec.Raw) -> bool:
    try:
        return _KIND.decode(part).T in _KNOWN
    except msgspec.MsgspecError:
        return True


def _take(message: _Message, frame: Frame) -> None:
    kind = type(message)
    if kind is _Quote:
        assert isinstance(message, _Quote)
        quote = Quote(
            ts_event=_ns(message.t),
            bid=message.bp,
            ask=message.ap,
            bid_size=message.bs,
            ask_size=message.as_,
        )
        frame.ticks.append((message.S, quote))
    elif kind is _Trade:
        assert isinstance(message, _Trade)
        trade = TradeTick(
            ts_event=_ns(message.t), price=message.p, size=message.s, conditions=message.c or ()
        )
        frame.ticks.append((message.S, trade))
    elif kind is _Bar:
        assert isinstance(message, _Bar)
        frame.ticks.append((message.S, _bar(message)))
    else:
        assert isinstance(message, Success | Subscription | Refused)
        frame.control.append(message)


def _bar(message: _Bar) -> Bar:
    return Bar(
        timeframe="1m",
        ts_event=_ns(message.t),
        open=message.o,
        high=message.h,
        low=message.l,
        close=message.c,
        volume=message.v,
        vwap=message.vw,
        trades=message.n,
    )


def _ns(stamp: Ext) -> int:
    """Nanoseconds of a msgpack timestamp (32, 64 or 96 bits). Raises ValueError."""
    data = bytes(stamp.data)
    if stamp.code != _TIMESTAMP_EXT:
        raise ValueError(f"extension type {stamp.code} is no timestamp")
    if len(data) == 8:
        bits = int.from_bytes(data, "big")
        return (bits & 0x3_FFFF_FFFF) * NS_PER_SECOND + (bits >> 34)
    if len(data) == 4:
        return int.from_bytes(data, "big") * NS_PER_SECOND
    if len(data) == 12:
        seconds = int.from_bytes(data[4:], "big", signed=True)
        return seconds * NS_PER_SECOND + int.from_bytes(data[:4], "big")
    raise ValueError(f"a timestamp of {len(data)} bytes")


def auth_message(key: str, secret: str) -> bytes:
    """What introduces us."""
    return msgspec.msgpack.encode({"action": "auth", "key": key, "secret": secret})


def subscribe_message(symbols: tuple[str, ...]) -> bytes:
    """Ask for quotes, trades and minute bars of `symbols`."""
    return msgspec.msgpack.encode(
        {"action": "subscribe", "quotes": symbols, "trades": symbols, "bars": symbols}
    )
