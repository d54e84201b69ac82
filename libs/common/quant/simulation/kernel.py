"""The loop over time: actions, orders, marks, signals, margin, the account's curve."""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.quant.compile import compiled, compiled_loop
from libs.common.quant.simulation.costs import IMPACT
from libs.common.quant.simulation.events import accrue, act, call_margin
from libs.common.quant.simulation.history import deviation, mean_volume
from libs.common.quant.simulation.matching import match
from libs.common.quant.simulation.ordering import obey
from libs.common.quant.simulation.orders import FOREVER
from libs.common.quant.unowned import unowned

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
    whole_curve: Any,
) -> None:
    """Play the market from time `accounts[0].time` on; fill `curve` (4, T): equity, cash, long and
    short value after each time.

    One time goes: interest and borrowing fees since the time before; corporate actions; orders and
    exits meet the bars; positions are marked at the closes; the signals decided on these bars
    become orders, which later bars fill; margin is called. Stops before a time for which a log may
    have too little room; call again with larger logs.
    """
    account, model = accounts[0], models[0]
    logs = (unowned(fills), unowned(trades), unowned(refusals))
    lines, streams, signals = unowned(all_lines), unowned(all_streams), unowned(all_signals)
    tape, slots, fine = unowned(whole_tape), unowned(all_slots), unowned(all_fine)
    owner, starts, offsets = unowned(all_owner), unowned(all_starts), unowned(all_offsets)
    quotes, fine_starts = unowned(all_quotes), unowned(all_fine_starts)
    active, curve, closes = unowned(actives), unowned(whole_curve), unowned(all_closes)
    end = timeline.shape[0]
    t = account.time
    while t < end:
        account.time = t
        used = max(account.fills - fills.shape[0], account.trades - trades.shape[0])
        if max(used, account.refusals - refusals.shape[0]) + model.entries > 0:
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
            low, high = _bounds(model, lines, starts, t)
            account.ts = tape[low].ts
        else:
            low, high = _bounds(model, lines, starts, t)
            if model.accrues and t > 0:
                accrue(model, account, lines, tape[low].ts)
            account.ts = tape[low].ts
            while account.actions < actions.shape[0] and actions[account.actions].time <= t:
                act(logs, model, account, lines, streams, actions[account.actions])
                account.actions += 1
            if account.busy:
                count = _open(model, lines, tape, owner, quotes, low, high, active)
                _prepare(model, lines, tape, slots, offsets, fine_starts, active[:count])
                _value(account, lines)
                match(logs, model, account, lines, streams, tape, fine, active, count)
            for k in range(low, high):
                line = lines[_owner(model, owner, k, low)]
                line.mark = closes[k]
                line.seen += 1
            _value(account, lines)
            if model.limited:
                equity = account.cash + account.long - account.short
                _look_back(account, equity, curve[0, t - 1] if t > 0 else equity)
        for k in range(low, high):
            s = _owner(model, owner, k, low)
            if lines[s].due < lines[s].seen:
                places = slots[offsets[s] : offsets[s + 1]]
                _hear(logs, model, account, lines, streams, s, signals, tape, places)
        if account.short > 0.0 or (account.long > 0.0 and model.maintenance_long > 0.0):
            call_margin(logs, model, account, lines, streams)
        curve[0, t] = account.cash + account.long - account.short
        curve[1, t] = account.cash
        curve[2, t] = account.long
        curve[3, t] = account.short
        t += 1
    account.time = t


@compiled
def _bounds(model: Any, lines: Any, starts: Any, t: int) -> tuple[int, int]:
    """Return where the bars of time t begin and end on the tape."""
    if model.aligned:
        return t * lines.shape[0], (t + 1) * lines.shape[0]
    return starts[t], starts[t + 1]


@compiled
def _owner(model: Any, owner: Any, k: int, low: int) -> int:
    """Return the symbol of tape slot k, in a time that begins at slot `low`. Where all symbols have
    bars it is counted: each look into an array that is read only here and there costs a miss."""
    return k - low if model.aligned else owner[k]


@compiled
def _glide(account: Any, lines: Any, tape: Any, closes: Any, curve: Any, t: int, until: int) -> int:
    """As `_coast`, where every symbol has a bar at every time: the next signal is known beforehand,
    and nothing but prices changes before it."""
    count = lines.shape[0]
    due = until
    for s in range(count):
        due = min(due, lines[s].due)
    last = min(due + 1, until)
    cash = account.cash
    # Asked for now, so that it is at hand when the loop below has come to it.
    account.ts = tape[(last - 1) * count].ts
    long = short = 0.0
    for i in range(t, last):
        long = short = 0.0
        for s in range(count):
            value = lines[s].position * closes[i * count + s]
            long += max(value, 0.0)
            short -= min(value, 0.0)
        curve[0, i] = cash + long - short
        curve[1, i] = cash
        curve[2, i] = long
        curve[3, i] = short
    for s in range(count):
        lines[s].mark = closes[(last - 1) * count + s]
        lines[s].seen = last
    account.long = long
    account.short = short
    return min(due, until)


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
        curve[0, t] = account.cash + account.long - account.short
        curve[1, t] = account.cash
        curve[2, t] = account.long
        curve[3, t] = account.short
        t += 1
    return t


@compiled
def _open(
    model: Any, lines: Any, tape: Any, owner: Any, quotes: Any, low: int, high: int, active: Any
) -> int:
    """Mark every symbol at its open; write those with work into `active`, return how many."""
    count = 0
    share = model.volume_share
    for k in range(low, high):
        s = _owner(model, owner, k, low)
        line = lines[s]
        line.mark = tape[k].open
        line.room = math.inf if share == math.inf else share * tape[k].volume
        if quotes.shape[0] > 0:
            line.quote.bid = quotes[k].bid
            line.quote.ask = quotes[k].ask
            line.quote.bid_size = quotes[k].bid_size
            line.quote.ask_size = quotes[k].ask_size
            line.spread = quotes[k].ask - quotes[k].bid
        if line.busy:
            active[count, 0] = k
            active[count, 1] = s
            active[count, 2] = line.seen
            active[count, 3] = active[count, 4] = 0
            count += 1
    return count


@compiled
def _prepare(
    model: Any, lines: Any, tape: Any, slots: Any, offsets: Any, fine_starts: Any, active: Any
) -> None:
    """Find the finer bars of the symbols with work, and what impact needs to know of them."""
    if fine_starts.shape[0] == 0 and model.slippage != IMPACT:
        return
    for a in range(active.shape[0]):
        s, i = active[a, 1], active[a, 2]
        if fine_starts.shape[0] > 0:
            active[a, 3] = fine_starts[offsets[s] + i]
            active[a, 4] = fine_starts[offsets[s] + i + 1]
        if model.slippage == IMPACT:
            line, places = lines[s], slots[offsets[s] : offsets[s + 1]]
            line.sigma = deviation(tape, places, line.since, i - 1, model.window)
            line.volume = mean_volume(tape, places, line.since, i - 1, model.window)


@compiled
def _value(account: Any, lines: Any) -> None:
    """Sum the positions at their marks."""
    long = short = 0.0
    for s in range(lines.shape[0]):
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


@compiled
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
