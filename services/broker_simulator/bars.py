"""Bars that grow with the live tape: the running minute and the running day of each symbol."""

from __future__ import annotations

from services.broker_simulator.market.tape import MINUTE_NS, Candle


class RunningBar:
    """One bar being built from prints."""

    __slots__ = ("close", "high", "low", "money", "open", "trades", "ts", "volume")

    def __init__(self, ts: int, price: int) -> None:
        self.ts = ts
        self.open = self.high = self.low = self.close = price
        self.volume = self.trades = self.money = 0

    def add(self, price: int, size: int) -> None:
        """Take one print."""
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self.close = price
        self.volume += size
        self.trades += 1
        self.money += price * size

    def candle(self) -> Candle:
        """Return the bar as it stands."""
        vwap = self.money / self.volume if self.volume else self.close
        return Candle(
            self.ts,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.trades,
            round(vwap / 10_000, 6),
        )


class LiveBars:
    """The running minute and day of every symbol."""

    def __init__(self) -> None:
        self._minutes: dict[str, RunningBar] = {}
        self._days: dict[str, RunningBar] = {}
        self.last_minutes: dict[str, Candle] = {}

    def add(self, symbol: str, ns: int, price: int, size: int, *, regular: bool) -> Candle | None:
        """Take a print; returns the corrected bar when it belongs to a minute already sent."""
        minute = ns // MINUTE_NS * MINUTE_NS
        sent = self.last_minutes.get(symbol)
        if sent is not None and minute <= sent.ts:
            return self._correct(symbol, sent, price, size) if minute == sent.ts else None
        self.recall(symbol, ns, price, size, regular=regular, in_minute=True)
        return None

    def recall(
        self, symbol: str, ns: int, price: int, size: int, *, regular: bool, in_minute: bool
    ) -> None:
        """Take a print into the running day, where it is regular, and into the running minute."""
        start = ns // MINUTE_NS * MINUTE_NS
        running = ((self._minutes, in_minute), (self._days, regular))
        for bars, wanted in running:
            if wanted:
                bar = bars.get(symbol)
                if bar is None:
                    bar = bars[symbol] = RunningBar(start, price)
                bar.add(price, size)

    def close_minute(self) -> dict[str, Candle]:
        """End the running minute; returns the bars of the symbols that traded in it."""
        done = {symbol: bar.candle() for symbol, bar in self._minutes.items()}
        self._minutes.clear()
        self.last_minutes.update(done)
        return done

    def days(self) -> dict[str, Candle]:
        """Return the running day of each symbol that traded."""
        return {symbol: bar.candle() for symbol, bar in self._days.items()}

    def start_day(self) -> None:
        """Forget the day before."""
        self._days.clear()

    def _correct(self, symbol: str, sent: Candle, price: int, size: int) -> Candle:
        volume = sent.volume + size
        vwap = (sent.vwap * sent.volume + price / 10_000 * size) / volume
        corrected = Candle(
            sent.ts,
            sent.open,
            max(sent.high, price),
            min(sent.low, price),
            price,
            volume,
            sent.trades + 1,
            round(vwap, 6),
        )
        self.last_minutes[symbol] = corrected
        return corrected
