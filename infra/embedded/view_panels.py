"""The panels of the live view, drawn with rich."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from infra.embedded.state import RunState
from infra.embedded.view_snapshot import ROWS, Row, Snapshot, legs_ms, middle, number

SPARKS = "▁▂▃▄▅▆▇█"
STATE_STYLES = {
    "ok": "green",
    "active": "green",
    "filled": "green",
    "degraded": "yellow",
    "stale": "yellow",
    "partially_filled": "yellow",
    "reducing": "yellow",
    "down": "red",
    "halted": "red",
    "denied": "red",
    "rejected": "red",
    "buy": "green",
    "sell": "red",
}


def screen(seen: Snapshot, running: RunState, events: Sequence[str], hint: str) -> RenderableType:
    """Return the whole screen; `hint` says what Ctrl-C does."""
    # Not above: commands draw their tables with this module, and a layout brings half of rich.
    from rich.layout import Layout

    layout = Layout()
    layout.split_column(
        Layout(_account(seen, running, hint), size=5),
        Layout(name="middle", ratio=3),
        Layout(name="lower", size=ROWS + 4),
        Layout(_events(events), size=7),
    )
    layout["middle"].split_row(
        Layout(_prices(seen), ratio=5),
        Layout(_positions(seen), ratio=5),
        Layout(_services(seen, running), ratio=4),
    )
    layout["lower"].split_row(Layout(_signals(seen)), Layout(_orders(seen)))
    return layout


def plain_line(seen: Snapshot) -> str:
    """Return one line for an output that is no terminal."""
    account = seen.one("account")
    bad = [f"{name} ({state})" for name, state in services_of(seen) if state != "ok"]
    parts = [
        f"equity {money(account.get('equity'))}",
        f"day P&L {money(account.get('day_pnl'))}",
        f"cash {money(account.get('cash'))}",
        f"positions {len(seen.rows('positions'))}",
        f"last signal {_brief(seen.rows('signals'), 'symbol', 'target')}",
        f"last order {_brief(seen.rows('orders'), 'symbol', 'side', 'status')}",
        f"services {'ok' if not bad and not seen.errors else ', '.join(bad)}",
    ]
    parts += [f"{name}: {error}" for name, error in sorted(seen.errors.items())]
    return " | ".join(parts)


def services_of(seen: Snapshot) -> list[tuple[str, str]]:
    """Return (service, state) of every service that monitoring knows."""
    services = seen.one("health").get("services")
    if isinstance(services, dict):
        services = [{"service": name, **value} for name, value in services.items()]
    rows = services if isinstance(services, list) else []
    return sorted((str(row.get("service", "?")), str(row.get("state", "?"))) for row in rows)


def money(value: Any, places: int = 2) -> str:
    """Return an amount with thousands separators, a dash where there is none."""
    amount = number(value)
    return "–" if amount is None else f"{amount:,.{places}f}"


def styled(word: Any) -> Text:
    """Return a word in the colour of its meaning."""
    return Text(str(word), style=STATE_STYLES.get(str(word), ""))


def signed(value: Any) -> Text:
    """Return an amount, green above zero and red below."""
    amount = number(value) or 0.0
    return Text(money(value), style="green" if amount > 0 else "red" if amount < 0 else "")


def clock_of(value: Any) -> str:
    """Return hours, minutes and seconds of an RFC 3339 time."""
    text = str(value or "")
    return text[11:19] if len(text) >= 19 else "–"


def _brief(rows: Sequence[Row], *names: str) -> str:
    return " ".join(str(rows[0].get(name, "?")) for name in names) if rows else "none"


def _account(seen: Snapshot, running: RunState, hint: str) -> Panel:
    account, risk = seen.one("account"), seen.one("risk")
    line = Text.assemble(
        "equity ", (money(account.get("equity")), "bold"),
        "   day ", signed(account.get("day_pnl")),
        "   total ", signed(account.get("total_pnl")),
        "   cash ", money(account.get("cash")),
        "   trading ", styled(risk.get("state", "–")),
    )  # fmt: skip
    legs = [f"judgement {_latency(seen)}"]
    legs += [f"{leg} {span:.0f} ms" for leg, span in legs_ms(seen).items()]
    if seen.gateway_ms is not None:
        legs.append(f"this view {seen.gateway_ms:.0f} ms")
    simulator = running.ports.get("broker_simulator")
    where = f"gateway {running.gateway}/api/v1/…"
    if simulator is not None:
        where = f"{where}   simulator http://127.0.0.1:{simulator}"
    market = clock_of(account.get("ts"))
    title = f"Tradewind · {running.broker} · books {running.books} · market time {market} UTC"
    lines = Group(line, Text("   ".join(legs)), Text(f"{where}   {hint}", style="dim"))
    return Panel(lines, title=title, title_align="left")


def _latency(seen: Snapshot) -> str:
    values = sorted(
        value
        for row in seen.rows("assessments")
        if (value := number(row.get("latency_us"))) is not None
    )
    if not values:
        return "–"
    return f"{values[len(values) // 2] / 1000:.2f}/{values[-1] / 1000:.2f} ms (p50/max)"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    for column in columns:
        name, _, align = column.partition(">")
        table.add_column(name, justify="right" if align == "r" else "left", no_wrap=True)
    return table


def _panel(title: str, table: Table, error: str | None) -> Panel:
    content: RenderableType = table
    if error and not table.row_count:
        content = Text(error, style="yellow")
    return Panel(content, title=title, title_align="left", padding=(0, 1))


def _prices(seen: Snapshot) -> Panel:
    table = _table("symbol", "price>r", "spread>r", "last minute")
    for row in seen.rows("quotes"):
        bid, ask = number(row.get("bid")), number(row.get("ask"))
        spread = money(ask - bid) if bid and ask else "–"
        symbol = str(row.get("symbol", "?"))
        table.add_row(symbol, money(middle(row)), spread, sparkline(seen.prices.get(symbol, ())))
    return _panel("prices", table, seen.errors.get("quotes"))


def sparkline(values: Iterable[float], width: int = 16) -> Text:
    """Return the last `width` values as a line of blocks, green when it ends higher."""
    shown = list(values)[-width:]
    if len(shown) < 2:
        return Text("")
    low, high = min(shown), max(shown)
    step = (high - low) / (len(SPARKS) - 1) or 1.0
    line = "".join(SPARKS[round((value - low) / step)] for value in shown)
    return Text(line, style="green" if shown[-1] >= shown[0] else "red")


def _positions(seen: Snapshot) -> Panel:
    table = _table("symbol", "quantity>r", "cost>r", "mark>r", "unrealized>r")
    for row in seen.rows("positions"):
        table.add_row(
            str(row.get("symbol", "?")),
            money(row.get("quantity"), 0),
            money(row.get("avg_cost")),
            money(row.get("mark")),
            signed(row.get("unrealized_pnl")),
        )
    return _panel("positions", table, seen.errors.get("positions"))


def _services(seen: Snapshot, running: RunState) -> Panel:
    table = _table("service", "port>r", "state")
    for name, state in services_of(seen):
        table.add_row(name, str(running.ports.get(name, "")), styled(state))
    return _panel("services", table, seen.errors.get("health"))


def _signals(seen: Snapshot) -> Panel:
    table = _table("market time", "strategy", "symbol", "target>r", "price>r")
    for row in seen.rows("signals")[:ROWS]:
        target = number(row.get("target"))
        table.add_row(
            clock_of(row.get("ts_event") or row.get("ts") or row.get("bar_ts")),
            str(row.get("strategy_id", "?")),
            str(row.get("symbol", "?")),
            "–" if target is None else f"{target:+.2f}",
            money(row.get("reference_price")),
        )
    return _panel("last signals", table, seen.errors.get("signals"))


def _orders(seen: Snapshot) -> Panel:
    table = _table("time", "symbol", "side", "quantity>r", "filled>r", "status", "reason")
    for row in seen.rows("orders")[:ROWS]:
        table.add_row(
            clock_of(row.get("created_at")),
            str(row.get("symbol", "?")),
            styled(row.get("side", "?")),
            money(row.get("quantity"), 0),
            money(row.get("filled_quantity"), 0),
            styled(row.get("status", "?")),
            str(row.get("reject_reason") or ""),
        )
    return _panel("last orders", table, seen.errors.get("orders"))


def _events(events: Sequence[str]) -> Panel:
    text = Text("\n".join(events), no_wrap=True, overflow="ellipsis")
    return Panel(text, title="events", title_align="left")
