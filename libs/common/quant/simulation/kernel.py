"""The loop over time: actions, orders, marks, signals, margin, the account's curve."""

from __future__ import annotations

import math
from typing import Any, Final

from libs.common.quant.compile import compiled
from libs.common.quant.simulation.costs import IMPACT
from libs.common.quant.simulation.events import accrue, act, call_margin
from libs.common.quant.simulation.history import deviation, mean_volume
from libs.common.quant.simulation.matching import match
from libs.common.quant.simulation.ordering import obey
from libs.common.quant.simulation.orders import FOREVER

_DAY_NS: Final = 86_400_000_000_000


@compiled
def simulate(
    models: Any,
    accounts: Any,
    lines: Any,
    streams: Any,
    tape: Any,
    owner: Any,
    timeline: Any,
    starts: Any,
    slots: Any,
    offsets: Any,
    quotes: Any,
    fine: Any,
    fine_starts: Any,
    actions: Any,
    signals: Any,
    fills: Any,
    trades: Any,
    refusals: Any,
    active: Any,
    curve: Any,
) -> None:
    """Play the market from time `accounts[0].time` on; fill `curve` (4, T): equity, cash, long and
    short value after each time.

    One time goes: interest and borrowing fees since the time before; corporate actions; orders and
    exits meet the bars; positions are marked at the closes; the signals decided on these bars
    become orders, which later bars fill; margin is called. Stops before a time for which a log may
    have too little room; call again with larger logs.
    """
    account, model = accounts[0], models[0]
    logs = (fills, trades, refusals)
    for t in range(account.time, timeline.shape[0]):
        used = max(account.fills - fills.shape[0], account.trades - trades.shape[0])
        used = max(used, account.refusals - refusals.shape[0])
        if used + model.entries > 0:
            return
        account.time = t + 1
        ts = timeline[t]
        low, high = starts[t], starts[t + 1]
        if model.accrues and t > 0:
            accrue(model, account, lines, ts)
        account.ts = ts
        while account.actions < actions.shape[0] and actions[account.actions].ts <= ts:
            act(logs, model, account, lines, streams, actions[account.actions])
            account.actions += 1
        count = 0
        for k in range(low, high):
            line = lines[owner[k]]
            if line.busy:
                active[count, 0] = k
                active[count, 1] = owner[k]
                active[count, 2] = line.seen
                count += 1
        if count:
            for k in range(low, high):
                line = lines[owner[k]]
                line.mark = tape[k].open
                share = model.volume_share
                line.room = math.inf if share == math.inf else share * tape[k].volume
                if quotes.shape[0] > 0:
                    line.quote.bid = quotes[k].bid
                    line.quote.ask = quotes[k].ask
                    line.quote.bid_size = quotes[k].bid_size
                    line.quote.ask_size = quotes[k].ask_size
                    line.spread = quotes[k].ask - quotes[k].bid
            for a in range(count):
                s, i = active[a, 1], active[a, 2]
                active[a, 3] = active[a, 4] = 0
                if fine_starts.shape[0] > 0:
                    active[a, 3] = fine_starts[offsets[s] + i]
                    active[a, 4] = fine_starts[offsets[s] + i + 1]
                if model.slippage == IMPACT:
                    line, places = lines[s], slots[offsets[s] : offsets[s + 1]]
                    line.sigma = deviation(tape, places, line.since, i - 1, model.window)
                    line.volume = mean_volume(tape, places, line.since, i - 1, model.window)
            _value(account, lines)
            match(logs, model, account, lines, streams, tape, fine, active, count)
        count = 0
        for k in range(low, high):
            line = lines[owner[k]]
            line.mark = tape[k].close
            if line.due == line.seen:
                active[count, 1] = owner[k]
                count += 1
            line.seen += 1
        _value(account, lines)
        equity = account.cash + account.long - account.short
        if model.limited:
            _look_back(account, ts, equity, curve[0, t - 1] if t > 0 else equity)
        for a in range(count):
            s = active[a, 1]
            places = slots[offsets[s] : offsets[s + 1]]
            _hear(logs, model, account, lines, streams, s, signals, tape, places)
        if account.short > 0.0 or (account.long > 0.0 and model.maintenance_long > 0.0):
            call_margin(logs, model, account, lines, streams)
        curve[0, t] = equity
        curve[1, t] = account.cash
        curve[2, t] = account.long
        curve[3, t] = account.short


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
def _look_back(account: Any, ts: int, equity: float, before: float) -> None:
    """Keep the highest equity, and that with which the UTC day began."""
    account.peak = max(account.peak, equity)
    if ts // _DAY_NS != account.day:
        account.day = ts // _DAY_NS
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
        if stream.next < stream.end and signals[stream.next].index == i:
            k = stream.next - stream.begin
            stream.next += 1
            signal = signals[stream.next - 1]
            obey(logs, model, account, lines, streams, stream, signal, k, i, tape, places)
        if stream.next < stream.end:
            due = min(due, signals[stream.next].index)
    line.due = due
