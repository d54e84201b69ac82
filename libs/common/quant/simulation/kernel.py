"""The loop over time: actions, orders, marks, signals, margin, the account's curve."""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.quant.compile import compiled, compiled_loop, compiled_step
from libs.common.quant.simulation.costs import IMPACT
from libs.common.quant.simulation.events import accrue, act, call_margin
from libs.common.quant.simulation.history import deviation, mean_volume
from libs.common.quant.simulation.layout import DELISTING
from libs.common.quant.simulation.matching import match
from libs.common.quant.simulation.ordering import obey
from libs.common.quant.simulation.orders import FOREVER
from libs.common.quant.unowned import beyond, rows_of

_DAY_NS: Final = 86_400_000_000_000


@compiled_loop
def simulate(
    models: Any,
    accounts: Any,
    all_lines: Any,
    all_streams: Any,
    whole_tape: Any,
    all_closes: Any,
    all_owner: Any,
    timeline: Any,
    all_starts: Any,
    all_slots: Any,
    all_offsets: Any,
    all_quotes: Any,
    all_fine: Any,
    all_fine_starts: Any,
    actions: Any,
    all_signals: Any,
    fills: Any,
    trades: Any,
    refusals: Any,
    actives: Any,
    equity: Any,
    cash: Any,
    long: Any,
    short: Any,
) -> None:
    """Play the market from time `accounts[0].time` on; fill `equity`, `cash`, and the value of
    `long` and `short` positions after each time (T,).

    One time goes: interest and borrowing fees since the time before; corporate actions; orders and
    exits meet the bars; positions are marked at the closes; the signals decided on these bars
    become orders, which later bars fill; margin is called. What is delisted after the last time is
    in the last point of the curve. Stops before a time, or such a delisting, for which a log may
    have too little room; call again with larger logs.
    """
    account, model = accounts[0], models[0]
    logs = (rows_of(fills), rows_of(trades), rows_of(refusals))
    lines, streams, signals = rows_of(all_lines), rows_of(all_streams), rows_of(all_signals)
    tape, slots, fine = rows_of(whole_tape), rows_of(all_slots), rows_of(all_fine)
    owner, starts, offsets = rows_of(all_owner), rows_of(all_starts), rows_of(all_offsets)
    quotes, fine_starts = rows_of(all_quotes), rows_of(all_fine_starts)
    active, closes = rows_of(actives), rows_of(all_closes)
    curve = (rows_of(equity), rows_of(cash), rows_of(long), rows_of(short))
    quoted, refined = all_quotes.shape[0] > 0, all_fine_starts.shape[0] > 0
    room = (fills.shape[0], trades.shape[0], refusals.shape[0])
    end = timeline.shape[0]
    t = account.time
    while t < end:
        account.time = t
        if _full(model, account, *room):
            return
        until = end
        if account.actions < actions.shape[0]:
            until = actions[account.actions].time
        owed = account.short > 0.0 or model.maintenance_long > 0.0
        if t < until and not (account.busy or model.accrues or model.limited or owed):
            if model.aligned:
                t = _glide(account, lines, tape, closes, curve, t, until)
            else:
                t = _coast(account, lines, closes, owner, starts, curve, t, until)
            if t == until:
                continue
            low, high = _bounds(model, account, starts, t)
            account.ts = tape[low].ts
        else:
            low, high = _bounds(model, account, starts, t)
            if model.accrues and t > 0:
                accrue(model, account, lines, tape[low].ts)
            account.ts = tape[low].ts
            while account.actions < actions.shape[0] and actions[account.actions].time <= t:
                act(logs, model, account, lines, streams, actions[account.actions])
                account.actions += 1
            if account.busy:
                count = _open(model, lines, tape, owner, low, high, active)
                if quoted:
                    _quote(model, lines, owner, quotes, low, high)
                if refined:
                    _refine(offsets, fine_starts, active, count)
                if model.slippage == IMPACT:
                    _look_around(model, lines, tape, slots, offsets, active, count)
                _value(account, lines)
                match(logs, model, account, lines, streams, tape, fine, active, count)
            for k in range(low, high):
                line = lines[_owner(model, owner, k, low)]
                line.mark = closes[k]
                line.seen += 1
            _value(account, lines)
            if model.limited:
                worth = account.cash + account.long - account.short
                _look_back(account, worth, equity[t - 1] if t > 0 else worth)
        for k in range(low, high):
            s = _owner(model, owner, k, low)
            if lines[s].due < lines[s].seen:
                places = beyond(slots, offsets[s])
                _hear(logs, model, account, lines, streams, s, signals, tape, places)
        if account.short > 0.0 or (account.long > 0.0 and model.maintenance_long > 0.0):
            call_margin(logs, model, account, lines, streams)
        _draw(curve, t, account.cash, account.long, account.short)
        t += 1
    account.time = t
    while account.actions < actions.shape[0] and not _full(model, account, *room):
        action = actions[account.actions]
        if action.kind == DELISTING:
            account.ts = action.ts
            act(logs, model, account, lines, streams, action)
            _value(account, lines)
            _draw(curve, end - 1, account.cash, account.long, account.short)
        account.actions += 1


@compiled
def _full(model: Any, account: Any, fills: int, trades: int, refusals: int) -> bool:
    """Tell whether a log, of these lengths, may have too little room for what one time can add."""
    used = max(account.fills - fills, account.trades - trades, account.refusals - refusals)
    return bool(used + model.entries > 0)


@compiled
def _draw(curve: Any, t: int, cash: float, long: float, short: float) -> None:
    """Write down what the account is worth after time t."""
    curve[0][t] = cash + long - short
    curve[1][t] = cash
    curve[2][t] = long
    curve[3][t] = short


@compiled
def _bounds(model: Any, account: Any, starts: Any, t: int) -> tuple[int, int]:
    """Return where the bars of time t begin and end on the tape."""
    if model.aligned:
        return t * account.symbols, (t + 1) * account.symbols
    return starts[t], starts[t + 1]


@compiled
def _owner(model: Any, owner: Any, k: int, low: int) -> int:
    """Return the symbol of tape slot k, in a time that begins at slot `low`. Where all symbols have
    bars it is counted: each look into an array that is read only here and there costs a miss."""
    return k - low if model.aligned else owner[k]


@compiled_step
def _glide(account: Any, lines: Any, tape: Any, closes: Any, curve: Any, t: int, until: int) -> int:
    """As `_coast`, where every symbol has a bar at every time: the next signal is known beforehand,
    and nothing but prices changes before it."""
    count = account.symbols
    due = until
    for s in range(count):
        due = min(due, lines[s].due)
    last = min(due + 1, until)
    # Asked for now, so that it is at hand when the loops below have come to it.
    account.ts = tape[(last - 1) * count].ts
    if count == 1 and lines[0].position >= 0.0:
        _mark_one(account.cash, lines[0].position, closes, curve, t, last)
    else:
        _mark_all(account.cash, count, lines, closes, curve, t, last)
    for s in range(count):
        lines[s].mark = closes[(last - 1) * count + s]
        lines[s].seen = last
    account.long = curve[2][last - 1]
    account.short = curve[3][last - 1]
    return min(due, until)


@compiled_step
def _mark_one(cash: float, position: float, closes: Any, curve: Any, begin: int, end: int) -> None:
    """Draw times `begin` to `end` - 1 of an account that is long in the only symbol, or flat.

    A loop for each curve: one that writes to several LLVM does not turn into vectors, because they
    might be the same.
    """
    equity, kept, long, short = curve
    for i in range(begin, end):
        long[i] = position * closes[i]
    for i in range(begin, end):
        equity[i] = cash + long[i]
    for i in range(begin, end):
        kept[i] = cash
    for i in range(begin, end):
        short[i] = 0.0


@compiled
def _mark_all(
    cash: float, count: int, lines: Any, closes: Any, curve: Any, begin: int, end: int
) -> None:
    """Draw times `begin` to `end` - 1 of all positions; sums run over symbols, in their order.

    Four times go beside each other: each sum waits for itself, and they do not wait for others.
    """
    i = begin
    while i + 4 <= end:
        l0 = l1 = l2 = l3 = s0 = s1 = s2 = s3 = 0.0
        for s in range(count):
            held = lines[s].position
            at = i * count + s
            v0, v1 = held * closes[at], held * closes[at + count]
            v2, v3 = held * closes[at + 2 * count], held * closes[at + 3 * count]
            l0 += max(v0, 0.0)
            l1 += max(v1, 0.0)
            l2 += max(v2, 0.0)
            l3 += max(v3, 0.0)
            s0 -= min(v0, 0.0)
            s1 -= min(v1, 0.0)
            s2 -= min(v2, 0.0)
            s3 -= min(v3, 0.0)
        _draw(curve, i, cash, l0, s0)
        _draw(curve, i + 1, cash, l1, s1)
        _draw(curve, i + 2, cash, l2, s2)
        _draw(curve, i + 3, cash, l3, s3)
        i += 4
    while i < end:
        long = short = 0.0
        for s in range(count):
            value = lines[s].position * closes[i * count + s]
            long += max(value, 0.0)
            short -= min(value, 0.0)
        _draw(curve, i, cash, long, short)
        i += 1


@compiled
def _coast(
    account: Any, lines: Any, closes: Any, owner: Any, starts: Any, curve: Any, t: int, until: int
) -> int:
    """Mark positions from time t on while there is nothing else to do; return the time at which
    signals are to be heard (marked, but not written to the curve), or `until`."""
    while t < until:
        due = False
        for k in range(starts[t], starts[t + 1]):
            line = lines[owner[k]]
            line.mark = closes[k]
            line.seen += 1
            due = due or line.due < line.seen
        _value(account, lines)
        if due:
            break
        _draw(curve, t, account.cash, account.long, account.short)
        t += 1
    return t


@compiled_step
def _open(model: Any, lines: Any, tape: Any, owner: Any, low: int, high: int, active: Any) -> int:
    """Mark every symbol at its open; write those with work into `active`, return how many."""
    count = 0
    share = model.volume_share
    for k in range(low, high):
        s = _owner(model, owner, k, low)
        line = lines[s]
        line.mark = tape[k].open
        line.room = math.inf if share == math.inf else share * tape[k].volume
        if line.busy:
            work = active[count]
            work.slot = k
            work.symbol = s
            work.bar = line.seen
            work.begin = work.end = 0
            count += 1
    return count


@compiled
def _quote(model: Any, lines: Any, owner: Any, quotes: Any, low: int, high: int) -> None:
    """Show every symbol the quote of its open."""
    for k in range(low, high):
        line, quote = lines[_owner(model, owner, k, low)], quotes[k]
        line.quote.bid = quote.bid
        line.quote.ask = quote.ask
        line.quote.bid_size = quote.bid_size
        line.quote.ask_size = quote.ask_size
        line.spread = quote.ask - quote.bid


@compiled
def _refine(offsets: Any, fine_starts: Any, active: Any, count: int) -> None:
    """Find the finer bars of the symbols with work."""
    for a in range(count):
        work = active[a]
        place = offsets[work.symbol] + work.bar
        work.begin = fine_starts[place]
        work.end = fine_starts[place + 1]


@compiled
def _look_around(
    model: Any, lines: Any, tape: Any, slots: Any, offsets: Any, active: Any, count: int
) -> None:
    """Measure what impact needs to know of the symbols with work."""
    for a in range(count):
        s, i = active[a].symbol, active[a].bar
        line, places = lines[s], beyond(slots, offsets[s])
        line.sigma = deviation(tape, places, line.since, i - 1, model.window)
        line.volume = mean_volume(tape, places, line.since, i - 1, model.window)


@compiled
def _value(account: Any, lines: Any) -> None:
    """Sum the positions at their marks."""
    long = short = 0.0
    for s in range(account.symbols):
        value = lines[s].position * lines[s].mark
        if value > 0.0:
            long += value
        else:
            short -= value
    account.long = long
    account.short = short


@compiled
def _look_back(account: Any, equity: float, before: float) -> None:
    """Keep the highest equity, and that with which the UTC day began."""
    account.peak = max(account.peak, equity)
    if account.ts // _DAY_NS != account.day:
        account.day = account.ts // _DAY_NS
        account.day_equity = before


@compiled_step
def _hear(
    logs: Any,
    model: Any,
    account: Any,
    lines: Any,
    streams: Any,
    s: int,
    signals: Any,
    tape: Any,
    places: Any,
) -> None:
    """Obey the signals decided on the last bar of symbol s, and find the next bar that has some."""
    line = lines[s]
    i = line.seen - 1
    due = FOREVER
    for j in range(line.first, line.last):
        stream = streams[j]
        while stream.next < stream.end and signals[stream.next].index <= i:
            k = stream.next - stream.begin
            stream.next += 1
            signal = signals[stream.next - 1]
            obey(logs, model, account, lines, streams, stream, signal, k, i, tape, places)
        if stream.next < stream.end:
            due = min(due, signals[stream.next].index)
    line.due = due
