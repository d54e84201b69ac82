"""Market data in Alpaca's words: JSON bodies for REST, msgpack for the stream.

The stream encoder packs quotes by hand into a fixed layout per symbol: it is the hot path, and
one `struct` call is several times faster than a general packer.
"""

from __future__ import annotations

import functools
import struct
from typing import Any

import msgspec

from libs.common.kernel.clock import NS_PER_SECOND, from_ns
from services.broker_simulator.market.tape import Candle

EXCHANGE = "V"
TAPE = "C"
_BP, _BS, _AP, _AS = b"\xa2bp\xcb", b"\xa2bs\xce", b"\xa2ap\xcb", b"\xa2as\xce"
_T = b"\xa1t\xd7\xff"
_QUOTE = struct.Struct(">4sd4sI4sd4sI4sQ")


@functools.lru_cache(maxsize=4096)
def rfc3339(ns: int) -> str:
    """Return RFC 3339 UTC with as many fraction digits as needed: Alpaca's form."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    text = from_ns(seconds * NS_PER_SECOND).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction}Z"


def dollars(ticks: int) -> float:
    """Return a tape price as the float that market data travels as: 1501000 → 150.1."""
    return ticks / 10_000


def bar_json(candle: Candle) -> dict[str, Any]:
    """Return a bar of the REST answers."""
    return {
        "t": rfc3339(candle.ts),
        "o": dollars(candle.open),
        "h": dollars(candle.high),
        "l": dollars(candle.low),
        "c": dollars(candle.close),
        "v": candle.volume,
        "n": candle.trades,
        "vw": candle.vwap,
    }


def quote_json(ts: int, bid: int, ask: int, bid_size: int, ask_size: int) -> dict[str, Any]:
    """Return a quote of the REST answers."""
    return {
        "t": rfc3339(ts),
        "bx": EXCHANGE,
        "bp": dollars(bid),
        "bs": bid_size,
        "ax": EXCHANGE,
        "ap": dollars(ask),
        "as": ask_size,
        "c": ["R"],
        "z": TAPE,
    }


def trade_json(ts: int, price: int, size: int, number: int) -> dict[str, Any]:
    """Return a trade of the REST answers."""
    return {
        "t": rfc3339(ts),
        "x": EXCHANGE,
        "p": dollars(price),
        "s": size,
        "c": ["@"],
        "i": number,
        "z": TAPE,
    }


def timestamp(ns: int) -> msgspec.msgpack.Ext:
    """Return msgpack's own timestamp (64-bit form), the only form of time the client reads."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    return msgspec.msgpack.Ext(-1, struct.pack(">Q", (rest << 34) | seconds))


class StreamEncoder:
    """Packs stream messages; keeps each symbol's constant bytes."""

    def __init__(self) -> None:
        self._quote_heads: dict[str, bytes] = {}

    def quote(
        self, symbol: str, ns: int, bid: int, ask: int, bid_size: int, ask_size: int
    ) -> bytes:
        """Return a `q` message: a map of eleven entries with 64-bit floats and 32-bit sizes."""
        head = self._quote_heads.get(symbol)
        if head is None:
            head = self._quote_heads[symbol] = _quote_head(symbol)
        seconds, rest = divmod(ns, NS_PER_SECOND)
        return head + _pack_quote(bid / 10_000, bid_size, ask / 10_000, ask_size, rest, seconds)

    def trade(self, symbol: str, ns: int, price: int, size: int, number: int) -> bytes:
        """Return a `t` message."""
        return _pack(
            {
                "T": "t",
                "S": symbol,
                "i": number,
                "x": EXCHANGE,
                "p": price / 10_000,
                "s": size,
                "c": ["@"],
                "z": TAPE,
                "t": timestamp(ns),
            }
        )

    def bar(self, kind: str, symbol: str, candle: Candle) -> bytes:
        """Return a `b`, `u` or `d` message."""
        body = bar_json(candle)
        body["t"] = timestamp(candle.ts)
        return _pack({"T": kind, "S": symbol, **body})

    def status(self, symbol: str, ns: int, halted: bool, reason: str) -> bytes:
        """Return an `s` message: a halt or a resumption."""
        return _pack(
            {
                "T": "s",
                "S": symbol,
                "sc": "H" if halted else "T",
                "sm": "Trading Halt" if halted else "Trading Resumption",
                "rc": "T1" if halted else "",
                "rm": reason,
                "z": TAPE,
                "t": timestamp(ns),
            }
        )


def frame(messages: list[bytes]) -> bytes:
    """Return the messages as one msgpack array."""
    return array_head(len(messages)) + b"".join(messages)


def array_head(count: int) -> bytes:
    """Return msgpack's head of an array with `count` elements."""
    if count < 16:
        return bytes([0x90 | count])
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def _pack(body: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode(body)


def _quote_head(symbol: str) -> bytes:
    """Return the constant part: eleven entries, of which six are the same in every quote."""
    constant = {"T": "q", "S": symbol, "bx": EXCHANGE, "ax": EXCHANGE, "c": ["R"], "z": TAPE}
    return b"\x8b" + _pack(constant)[1:]


def _pack_quote(
    bid: float, bid_size: int, ask: float, ask_size: int, rest: int, seconds: int
) -> bytes:
    # Timestamp 64: nanoseconds in the upper 30 bits, seconds in the lower 34.
    return _QUOTE.pack(_BP, bid, _BS, bid_size, _AP, ask, _AS, ask_size, _T, (rest << 34) | seconds)
