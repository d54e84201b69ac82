"""The last good quote and trade of each symbol, in memory."""

from dataclasses import dataclass

import msgspec

from libs.common.contracts.messages import Quote, TradeTick


class LatestTick(msgspec.Struct, frozen=True, kw_only=True):
    """What is known last of a symbol; `received_ns` is wall time, `ts_event` market time.

    This is also the JSON under the Redis key `market:latest:<symbol>`.
    """

    symbol: str
    provider: str
    received_ns: int
    ts_event: int
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float | None = None
    last_size: float | None = None


@dataclass(slots=True)
class _Seen:
    received_ns: int = 0
    quote: Quote | None = None
    trade: TradeTick | None = None


class LatestTicks:
    """The cache of last ticks; `changed()` gives what changed since it was asked before."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._seen: dict[str, _Seen] = {}
        self._changed: set[str] = set()

    def put(
        self, symbol: str, received_ns: int, quote: Quote | None, trade: TradeTick | None
    ) -> None:
        """Remember the newest quote and trade (None: unchanged)."""
        seen = self._seen.get(symbol)
        if seen is None:
            seen = self._seen[symbol] = _Seen()
        seen.received_ns = received_ns
        seen.quote = quote or seen.quote
        seen.trade = trade or seen.trade
        self._changed.add(symbol)

    def get(self, symbol: str) -> LatestTick | None:
        """The last tick of `symbol`, None if there was none."""
        seen = self._seen.get(symbol)
        if seen is None:
            return None
        quote, trade = seen.quote, seen.trade
        return LatestTick(
            symbol=symbol,
            provider=self._provider,
            received_ns=seen.received_ns,
            ts_event=max(quote.ts_event if quote else 0, trade.ts_event if trade else 0),
            bid=quote.bid if quote else None,
            ask=quote.ask if quote else None,
            bid_size=quote.bid_size if quote else None,
            ask_size=quote.ask_size if quote else None,
            last=trade.price if trade else None,
            last_size=trade.size if trade else None,
        )

    def changed(self) -> list[LatestTick]:
        """The last tick of each symbol that has changed since the last call."""
        changed, self._changed = self._changed, set()
        return [tick for symbol in sorted(changed) if (tick := self.get(symbol)) is not None]

    def ages_s(self, now_ns: int) -> dict[str, float]:
        """Seconds of wall time since each symbol's last good tick was received."""
        return {symbol: (now_ns - seen.received_ns) / 1e9 for symbol, seen in self._seen.items()}
