"""How an order's dossier looks on the terminal: one table a chapter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from cli.tables import grid, milliseconds, orders, quantity
from infra.embedded.view_panels import clock_of, styled

Row = Mapping[str, Any]
VERDICTS = {True: "passed", False: "failed", None: "not asked"}


def parts(dossier: Row) -> Iterator[tuple[str, Table]]:
    """Yield the chapters that have something to tell, with their titles."""
    yield "Order", orders([dossier["order"]])
    if signal := dossier.get("signal"):
        yield "Signal", _signal(signal, dossier.get("bar"), dossier.get("tick"))
    if judgement := dossier.get("judgement"):
        yield f"Judgement: {_verdict(judgement)}", _checks(judgement.get("checks") or ())
    yield "Events", _events(dossier.get("events", ()))
    if wire := dossier.get("wire"):
        yield "Wire", _wire(wire)
    if executions := dossier.get("executions"):
        yield "Executions", _executions(executions)
    if ledger := dossier.get("ledger"):
        yield "Ledger", _ledger(ledger)
    yield "Latency", _latency(dossier.get("latency", ()))
    yield "Cost against arrival (positive is a cost)", _cost(dossier["cost"])


def _signal(signal: Row, bar: Row | None, tick: Row | None) -> Table:
    table = grid(
        "time",
        "strategy",
        "symbol",
        "target>",
        "reference>",
        "bar (market time)",
        "close>",
        "last tick (market time)",
        "bid>",
        "ask>",
    )
    table.add_row(
        clock_of(signal.get("created_at")),
        str(signal.get("strategy_id")),
        str(signal.get("symbol")),
        str(signal.get("target")),
        quantity(signal.get("reference_price")),
        str(signal.get("bar_ts")),
        quantity(bar.get("close") if bar else None),
        str(tick.get("ts") if tick else "–"),
        quantity(tick.get("bid") if tick else None),
        quantity(tick.get("ask") if tick else None),
    )
    return table


def _verdict(judgement: Row) -> str:
    code = judgement.get("code")
    why = f" ({code})" if code else ""
    return (
        f"{judgement.get('verdict')}{why} at {clock_of(judgement.get('ts'))}, "
        f"quantity {quantity(judgement.get('quantity'))}"
    )


def _checks(checks: Sequence[Row]) -> Table:
    table = grid("check", "outcome", "was>", "limit>", "note")
    for check in checks:
        table.add_row(
            str(check.get("code")),
            VERDICTS.get(check.get("passed"), "?"),
            str(check.get("value") or "–"),
            str(check.get("limit") or "–"),
            str(check.get("note") or ""),
        )
    return table


def _events(events: Sequence[Row]) -> Table:
    table = grid("time", "event", "status", "why")
    for event in events:
        table.add_row(
            clock_of(event.get("ts")),
            str(event.get("event")),
            styled(event.get("to_status")),
            str(event.get("reason") or ""),
        )
    return table


def _wire(messages: Sequence[Row]) -> Table:
    table = grid("time", "what", "status", "took>", "said")
    for one in messages:
        request = one.get("method") is not None
        took = one.get("took_us")
        table.add_row(
            clock_of(one.get("ts")),
            f"{one['method']} {one.get('path')}" if request else "stream",
            str(one.get("status") or one.get("error") or ("no answer" if request else "")),
            milliseconds(took / 1000 if took is not None else None),
            _in_short(one.get("received") or one.get("sent")),
        )
    return table


def _in_short(body: str | None) -> str:
    """What a message says of its order, as far as one line goes; --json shows it whole."""
    try:
        read = json.loads(body or "")
    except ValueError:
        return (body or "")[:_SAID_MAX]
    data = read.get("data", read) if isinstance(read, dict) else read
    if not isinstance(data, dict):
        return str(read)[:_SAID_MAX]
    order = data.get("order", data)
    said = {
        name: data[name] for name in ("event", "code", "message", "price", "qty") if name in data
    }
    if isinstance(order, dict):
        said |= {name: order[name] for name in ("status", "filled_qty") if name in order}
    return " ".join(f"{name}={value}" for name, value in said.items())[:_SAID_MAX]


_SAID_MAX = 80


def _executions(executions: Sequence[Row]) -> Table:
    table = grid("booked", "execution", "quantity>", "price>", "commission>", "fees>", "taken back")
    for one in executions:
        table.add_row(
            clock_of(one.get("booked_at")),
            str(one.get("execution_id")),
            *(quantity(one.get(name)) for name in _AMOUNTS),
            str(one.get("reversed_kind") or ""),
        )
    return table


_AMOUNTS = ("quantity", "executed_price", "commission", "fees")


def _ledger(lines: Sequence[Row]) -> Table:
    table = grid("time", "kind", "code", "amount>", "ledger", "debit", "credit")
    for line in lines:
        table.add_row(
            clock_of(line.get("ts")),
            str(line.get("kind")),
            str(line.get("code")),
            quantity(line.get("amount")),
            str(line.get("ledger")),
            f"{line.get('debit_owner')}/{line.get('debit_code')}",
            f"{line.get('credit_owner')}/{line.get('credit_code')}",
        )
    return table


def _latency(legs: Sequence[Row]) -> Table:
    table = grid("from", "to", "took>")
    for leg in legs:
        table.add_row(str(leg.get("start")), str(leg.get("end")), milliseconds(leg.get("ms")))
    return table


def _cost(cost: Row) -> Table:
    table = grid(
        "arrival>", "average>", "quantity>", "slippage bps>", "slippage>", "fees>", "total>"
    )
    names = ("arrival_price", "average_price", "quantity", "slippage_bps", "slippage", "fees")
    table.add_row(*(quantity(cost.get(name)) for name in (*names, "total")))
    return table
