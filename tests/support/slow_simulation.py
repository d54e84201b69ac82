"""A second simulation, written from docs/backtest-engine.md alone: slow, plain, in Python objects.

It shares no code with the kernel but the records that go in, so that the two can be held against
each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from libs.common.quant.simulation.layout import DELISTING, DIVIDEND
from libs.common.quant.simulation.market import Market
from libs.common.quant.simulation.models import (
    Exits,
    Flip,
    LimitFill,
    MarketFill,
    Models,
    SlippageMethod,
)
from libs.common.quant.simulation.sleeves import Method, Sleeve

NAN = math.nan


@dataclass
class Order:
    """A working order, or what guards a position."""

    side: int
    left: float
    limit: float | None = None
    stop: float | None = None
    profit: float | None = None
    from_bar: int = 0
    from_ts: int = 0
    until_bar: float = math.inf
    reason: str = "signal"
    entry: bool = False
    shares: float = 0.0
    money: float = 0.0
    percent: float = 0.0
    paid: float = 0.0


@dataclass
class Held:
    """One sleeve in one symbol."""

    symbol: int
    sleeve: int
    signals: list[np.void]
    position: float = 0.0
    order: Order | None = None
    exits: Order | None = None
    fresh: str = ""


@dataclass
class Slow:
    """The simulation; `fills` are (ts, symbol, sleeve, signed quantity, price, fee, reason)."""

    market: Market
    sleeves: Sequence[Sleeve]
    models: Models
    cash: float = 0.0
    ts: int = 0
    traded: float = 0.0
    fills: list[tuple[float, ...]] = field(default_factory=list)
    refused: int = 0
    equity: list[float] = field(default_factory=list)

    def run(self) -> Slow:
        """Play everything."""
        m = self.market
        self.cash = self.models.cash
        self.mark = [0.0] * len(m.symbols)
        self.seen = [0] * len(m.symbols)
        self.since = [0] * len(m.symbols)
        self.gone = [False] * len(m.symbols)
        self.room = [math.inf] * len(m.symbols)
        self.held = [
            Held(s, k, list(sleeve.signals[symbol]))
            for s, symbol in enumerate(m.symbols)
            for k, sleeve in enumerate(self.sleeves)
            if symbol in sleeve.signals
        ]
        times = sorted({int(ts) for bars in m.bars for ts in bars["ts"]})
        actions = list(m.actions)
        for ts in times:
            if self.ts:
                self.accrue((ts - self.ts) / (self.models.interest.days * 86_400e9))
            self.ts = ts
            while actions and actions[0]["ts"] <= ts:
                self.act(actions.pop(0))
            here = {
                s: bars[self.seen[s]]
                for s, bars in enumerate(m.bars)
                if self.seen[s] < len(bars) and bars[self.seen[s]]["ts"] == ts
            }
            self.play(here)
            for s, bar in here.items():
                self.mark[s] = float(bar["close"])
                self.seen[s] += 1
            for h in self.held:
                while (
                    h.signals and h.symbol in here and h.signals[0]["index"] < self.seen[h.symbol]
                ):
                    self.obey(h, h.signals.pop(0))
            self.call_margin()
            self.equity.append(self.worth())
        for action in actions:
            if action["kind"] == DELISTING:
                self.ts = int(action["ts"])
                self.act(action)
                self.equity[-1] = self.worth()
        return self

    # The account ------------------------------------------------------------------------------

    def positions(self) -> list[float]:
        """Return the account's position in each symbol."""
        total = [0.0] * len(self.mark)
        for h in self.held:
            total[h.symbol] += h.position
        return total

    def values(self) -> tuple[float, float]:
        """Return the value of longs and of shorts."""
        worth = [q * p for q, p in zip(self.positions(), self.mark, strict=True)]
        return sum(v for v in worth if v > 0), -sum(v for v in worth if v < 0)

    def worth(self) -> float:
        """Return equity."""
        long, short = self.values()
        return self.cash + long - short

    def accrue(self, years: float) -> None:
        """Take interest and borrowing fees."""
        i, (_, short) = self.models.interest, self.values()
        fee = 0.0
        for s, q in enumerate(self.positions()):
            rate = i.borrow if self.market.borrow[s] < 0 else self.market.borrow[s]
            fee += max(0.0, -q) * self.mark[s] * rate * years
        free = max(0.0, self.cash - short)
        self.cash += (free * i.credit + min(0.0, self.cash) * i.debit) * years - fee

    def act(self, action: np.void) -> None:
        """Carry out a corporate action."""
        s, value = int(action["symbol"]), float(action["value"])
        for h in self.held:
            if h.symbol != s or self.gone[s]:
                continue
            if action["kind"] == DIVIDEND:
                tax = self.models.interest.dividend_tax if h.position > 0 else 0.0
                self.cash += h.position * value * (1 - tax)
            elif action["kind"] == DELISTING:
                price = self.mark[s] if math.isnan(value) else value
                self.cash += h.position * price
                if h.position:
                    self.note(h, -h.position, price, 0.0, "delisting")
                self.cancel(h)
                h.position, h.exits = 0.0, None
            else:
                self.split(h, value)
        if action["kind"] == DELISTING:
            self.gone[s] = True
        elif action["kind"] != DIVIDEND:
            self.mark[s] /= value
            self.since[s] = self.seen[s]

    def split(self, h: Held, ratio: float) -> None:
        """Scale what one sleeve has; pay out what is no whole lot."""
        whole = self.lots(h.position * ratio, h.symbol)
        rest = h.position * ratio - whole
        if abs(rest) > 1e-9:
            price = self.mark[h.symbol] / ratio
            self.cash += rest * price
            self.note(h, -rest, price, 0.0, "split_fraction")
        h.position = whole if abs(rest) > 1e-9 else h.position * ratio
        for o in (h.order, h.exits):
            if o is not None:
                o.left = self.lots(o.left * ratio, h.symbol)
                o.shares *= ratio
                o.limit = None if o.limit is None else o.limit / ratio
                o.stop = None if o.stop is None else o.stop / ratio
                o.profit = None if o.profit is None else o.profit / ratio
        if h.order is not None and h.order.left <= 1e-9:
            self.cancel(h)
        if h.position == 0.0:
            h.exits = None

    def call_margin(self) -> None:
        """Order what must be closed."""
        margin, (long, short) = self.models.margin, self.values()
        if not (short > 0 or (long > 0 and margin.maintenance_long > 0)):
            return
        equity = self.worth()
        if equity > 0 and equity >= (
            margin.maintenance_long * long + margin.maintenance_short * short
        ):
            return
        keep = min(1.0, max(0.0, equity / (margin.initial * (long + short))))
        for h in self.held:
            rest = abs(self.lots(abs(h.position) * keep, h.symbol))
            busy = h.order is not None and h.order.reason == "liquidation"
            if not h.position or busy or rest == abs(h.position):
                continue
            self.cancel(h)
            if rest <= 0:
                h.exits = None
            side = -1 if h.position > 0 else 1
            h.order = Order(
                side, abs(h.position) - rest, reason="liquidation", from_bar=self.seen[h.symbol]
            )

    # Bars ---------------------------------------------------------------------------------------

    def play(self, here: dict[int, np.void]) -> None:
        """Let the bars of one time meet the orders."""
        active = [h for h in self.held if h.symbol in here and (h.order or h.exits)]
        if not active:
            return
        for s, bar in here.items():
            self.mark[s] = float(bar["open"])
            share = self.models.fill.volume_share
            self.room[s] = math.inf if share is None else share * float(bar["volume"])
        for side in (-1, 1):
            for h in active:
                if h.order and h.order.side == side:
                    self.at_open(h, here[h.symbol])
        for exits in (False, True):
            for h in active:
                inner = list(self.finer(h.symbol))
                if not inner:
                    self.within(h, here[h.symbol], exits, False)
                elif exits:
                    for bar in inner:
                        self.within(h, bar, False, True)
                        self.within(h, bar, True, True)
                        h.fresh = ""
        for side in (-1, 1):
            for h in active:
                o = h.order
                closes = self.models.fill.market is MarketFill.NEXT_CLOSE
                if o is None or o.side != side or o.limit is not None or o.reason != "signal":
                    continue
                if closes and self.ready(h):
                    self.fill(h, o, float(here[h.symbol]["close"]), True, False, "open")
        for h in active:
            h.fresh = ""
            if h.order and self.seen[h.symbol] >= h.order.until_bar:
                self.cancel(h)

    def finer(self, s: int) -> Iterator[np.void]:
        """Yield the finer bars of the present bar."""
        starts = self.market.fine_starts
        if len(starts):
            k = int(self.market.offsets[s]) + self.seen[s]
            yield from self.market.fine[starts[k] : starts[k + 1]]

    def ready(self, h: Held) -> bool:
        """Tell whether the order has arrived."""
        o = h.order
        return o is not None and self.seen[h.symbol] >= o.from_bar and self.ts >= o.from_ts

    def at_open(self, h: Held, bar: np.void) -> None:
        """Fill at the open, or along the quote."""
        o, fill = h.order, self.models.fill
        assert o is not None
        waits = fill.market is MarketFill.NEXT_CLOSE and o.limit is None and o.reason == "signal"
        if not self.ready(h) or waits:
            return
        market = o.limit is None
        if fill.market is not MarketFill.QUOTE:
            price = float(bar["open"])
            if o.limit is None or o.side * (price - o.limit) <= 0:
                self.fill(h, o, price, market, False, "open")
            return
        k = int(self.market.slots[self.market.offsets[h.symbol] + self.seen[h.symbol]])
        quote = self.market.quotes[k]
        best, size = ("ask", "ask_size") if o.side > 0 else ("bid", "bid_size")
        for step in range(fill.quote_levels):
            price = float(quote[best]) + o.side * step * float(self.market.ticks[h.symbol])
            price = round(price, 8)
            if h.order is not o or price <= 0:
                break
            if o.limit is not None and o.side * (price - o.limit) > 0:
                break
            self.fill(h, o, price, market, False, "open", float(quote[size]) * (step + 1))

    def within(self, h: Held, bar: np.void, exits: bool, finer: bool) -> None:
        """Fill a resting limit or an exit within a bar."""
        low, high, opening = float(bar["low"]), float(bar["high"]), float(bar["open"])
        through = self.models.fill.limit is LimitFill.THROUGH
        if not exits:
            o = h.order
            if o is None or o.limit is None or not self.ready(h):
                return
            gap = o.limit - low if o.side > 0 else high - o.limit
            if gap > 0 or (gap == 0 and not through):
                price = o.limit
                if finer:
                    price = min(price, opening) if o.side > 0 else max(price, opening)
                self.fill(h, o, price, False, True, "within")
            return
        e = h.exits
        if e is None or h.position == 0:
            return
        long = h.position > 0
        inside = h.fresh == "within"
        beyond = e.profit is not None and (opening >= e.profit if long else opening <= e.profit)
        stopped = e.stop is not None and (low <= e.stop if long else high >= e.stop)
        reach = NAN if e.profit is None else (high - e.profit if long else e.profit - low)
        e.side, e.left = (-1 if long else 1), abs(h.position)
        if beyond and not inside:
            self.fill(h, e, opening, False, True, "", reason="take_profit")
        elif stopped:
            assert e.stop is not None
            gapped = not inside and (opening < e.stop if long else opening > e.stop)
            price = opening if gapped else e.stop
            self.cancel(h)
            h.exits = None
            h.order = Order(e.side, e.left, reason="stop", from_bar=0)
            self.fill(h, h.order, price, True, False, "")
        elif not inside and (reach > 0 or (reach == 0 and not through)):
            assert e.profit is not None
            self.fill(h, e, e.profit, False, True, "", reason="take_profit")
        if h.position == 0:
            self.cancel(h)
            h.exits = None

    def fill(
        self, h: Held, o: Order, clean: float, slips: bool, maker: bool, how: str,
        at_most: float = math.inf, reason: str = "",
    ) -> None:  # fmt: skip
        """Trade what volume and account allow."""
        s = h.symbol
        wished = min(o.left, at_most)
        if wished <= 0:
            return
        quantity = wished if self.room[s] >= wished else abs(self.lots(self.room[s], s))
        # The size that impact is reckoned with is the whole of what is asked for.
        price = max(clean + o.side * (self.slip(s, wished, clean) if slips else 0.0), 1e-8)
        if quantity <= 0:
            return
        done = self.bearable(h, o, quantity, price, maker)
        o.left -= done
        if done < quantity and (reason or o.reason) == "signal":
            self.refused += 1
            o.left = 0.0
        if done > 0:
            fee, tax, percent = self.fee(o, done, price, maker)
            o.shares, o.money = o.shares + done, o.money + done * price
            o.percent, o.paid = o.percent + percent, o.paid + fee
            self.traded += done * price
            self.room[s] -= done
            self.cash -= o.side * done * price + fee + tax
            if (h.position + o.side * done) * h.position < 0:
                h.exits = None
            h.position += o.side * done
            self.note(h, o.side * done, price, fee + tax, reason or o.reason)
            if abs(h.position) < 1e-9:
                h.position, h.exits = 0.0, None
            if o is h.order and o.entry and h.position * o.side > 0:
                h.fresh = how
                if o.stop is not None or o.profit is not None:
                    h.exits = Order(0, 0.0, stop=o.stop, profit=o.profit)
        if o is h.order and o.left <= 1e-9:
            h.order = None

    # Costs --------------------------------------------------------------------------------------

    def slip(self, s: int, quantity: float, price: float) -> float:
        """Return what a share costs beyond its price."""
        m, i = self.models.slippage, self.seen[s]
        if m.method is SlippageMethod.BPS:
            return price * m.figure / 10_000
        if m.method is SlippageMethod.SPREAD:
            if len(self.market.quotes):
                q = self.market.quotes[self.market.slots[self.market.offsets[s] + i]]
                return m.figure * float(q["ask"] - q["bid"])
            return m.figure * m.spread_bps / 10_000 * price
        if m.method is SlippageMethod.IMPACT:
            sigma = self.sigma(s, i - 1, m.window)
            volumes = self.market.bars[s]["volume"][max(self.since[s], i - m.window) : i]
            if sigma is not None and len(volumes) and volumes.mean() > 0:
                return m.figure * sigma * math.sqrt(quantity / volumes.mean()) * price
        return 0.0

    def sigma(self, s: int, last: int, window: int) -> float | None:
        """Return the deviation of the log returns before and with bar `last`."""
        closes = self.market.bars[s]["close"][max(self.since[s], last - window) : last + 1]
        returns = np.diff(np.log(closes))
        if len(returns) < min(window, 20):
            return None
        return float(np.std(returns, ddof=1))

    def fee(
        self, o: Order, quantity: float, price: float, maker: bool
    ) -> tuple[float, float, float]:
        """Return commission, tax, and what of the commission was by percent."""
        c = self.models.commission
        rate = c.percent
        for start, percent in c.tiers:
            if self.traded >= start:
                rate = percent
        if maker and c.maker is not None:
            rate = c.maker
        due = c.per_order + c.per_share * (o.shares + quantity)
        due += o.percent + rate * quantity * price
        if c.minimum:
            due = max(due, c.minimum)
        if c.maximum_share is not None:
            due = min(due, c.maximum_share * (o.money + quantity * price))
        tax = c.tax_buy * quantity * price
        if o.side < 0:
            tax = c.tax_sell * quantity * price + c.fee_per_share_sold * quantity
        return due - o.paid, tax, rate * quantity * price

    def bearable(self, h: Held, o: Order, quantity: float, price: float, maker: bool) -> float:
        """Return the largest number of lots that leaves no shortfall, found by bisection."""
        position = self.positions()[h.symbol]
        closing = min(quantity, abs(position)) if position * o.side < 0 else 0.0
        if closing >= quantity or self.covered(h, o, quantity, price, maker, position):
            return quantity
        lot = float(self.market.lots[h.symbol])
        low, high = 0, round((quantity - closing) / lot)
        while high - low > 1:
            middle = (low + high) // 2
            if self.covered(h, o, closing + middle * lot, price, maker, position):
                low = middle
            else:
                high = middle
        return closing + low * lot

    def covered(
        self, h: Held, o: Order, quantity: float, price: float, maker: bool, position: float
    ) -> bool:
        """Tell whether equity still covers its share of all positions."""
        fee, tax, _ = self.fee(o, quantity, price, maker)
        long, short = self.values()
        mark = self.mark[h.symbol]
        before, after = position * mark, (position + o.side * quantity) * mark
        cash = self.cash - o.side * quantity * price - fee - tax
        equity = cash + long - short - before + after
        gross = long + short - abs(before) + abs(after)
        scale = max(1.0, abs(self.cash) + long + short)
        return equity / self.models.margin.initial - gross >= -1e-12 * scale

    # Signals ------------------------------------------------------------------------------------

    def lots(self, shares: float, s: int) -> float:
        """Return whole lots toward zero."""
        unit = round(float(self.market.lots[s]) * 1e8)
        return math.copysign((round(abs(shares) * 1e8) // unit) * unit / 1e8, shares)

    def obey(self, h: Held, signal: np.void) -> None:
        """Make an order of a signal, or refuse it."""
        s, m = h.symbol, self.models
        target = float(signal["target"])
        wished, equity = 0.0, self.worth()
        if self.gone[s]:
            self.refused += 1
            return
        if target != 0:
            sizing = self.sleeves[h.sleeve].sizing
            scaled = target * self.sleeves[h.sleeve].weight
            shares: float | None
            if sizing.method is Method.FIXED_QUANTITY:
                shares = scaled * sizing.figure
            elif sizing.method is Method.FIXED_NOTIONAL:
                shares = scaled * sizing.figure / self.mark[s]
            elif sizing.method is Method.PERCENT_OF_EQUITY:
                shares = scaled * sizing.figure * equity / self.mark[s]
            else:
                sigma = self.sigma(s, self.seen[s] - 1, m.volatility_window)
                shares = None
                if sigma:
                    weight = min(sizing.figure / (sigma * math.sqrt(m.periods)), sizing.weight_max)
                    shares = scaled * weight * equity / self.mark[s]
            if shares is None or equity <= 0:
                self.refused += 1
                return
            wished = self.lots(shares, s)
        if h.order is not None and h.order.reason == "liquidation":
            return
        self.cancel(h)
        present = h.position
        stop, profit = self.price(signal["stop"]), self.price(signal["take_profit"])
        if m.exits is Exits.LATEST and wished * present > 0:
            h.exits = None if stop is None and profit is None else Order(0, 0.0, None, stop, profit)
        change = wished - present
        if wished * present < 0 and m.flip is Flip.CLOSE_FIRST:
            change = -present
        quantity = abs(self.lots(change, s))
        if quantity <= 0:
            return
        side = 1 if change > 0 else -1
        after = present + side * quantity
        entry = abs(after) >= abs(present) or after * present < 0
        limit = self.price(signal["limit"])
        if entry:
            ladder = [p for p in (stop, limit, profit) if p is not None]
            if ladder != sorted(ladder, reverse=side < 0) or len(set(ladder)) < len(ladder):
                self.refused += 1
                return
        i = self.seen[s] - 1
        h.order = Order(
            side,
            quantity,
            limit,
            stop if entry else None,
            profit if entry else None,
            from_bar=i + 1 + m.latency.bars,
            from_ts=self.ts + self.market.duration_ns + m.latency.ns if m.latency.ns else 0,
            entry=entry,
        )
        if m.order_bars is not None:
            h.order.until_bar = h.order.from_bar + m.order_bars - 1

    @staticmethod
    def price(value: float) -> float | None:
        """Return a price, None for none."""
        return None if math.isnan(value) else float(value)

    def cancel(self, h: Held) -> None:
        """Take the working order away."""
        self.refused += h.order is not None
        h.order = None

    def note(self, h: Held, signed: float, price: float, fee: float, reason: str) -> None:
        """Write a fill down."""
        self.fills.append((self.ts, h.symbol, h.sleeve, signed, price, fee, reason))  # type: ignore[arg-type]
