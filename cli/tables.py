"""How lists look on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from infra.embedded.view_panels import clock_of, money, signed, styled

Row = Mapping[str, Any]
WIDTH_MAX = 1000


def grid(*columns: str) -> Table:
    """Return an empty table; a column whose name ends with `>` is right-aligned."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        name, mark, _ = column.partition(">")
        table.add_column(name, justify="right" if mark else "left", no_wrap=True)
    return table


def instant(value: Any) -> str:
    """Return a time of day with its date, UTC, to the minute; a dash for none."""
    return str(value)[:16].replace("T", " ") if value else "–"


def show(console: Console, table: Table) -> None:
    """Print a table whole: ids are there to be copied, so no cell is cut to fit the terminal."""
    needed = Measurement.get(console, console.options.update(max_width=WIDTH_MAX), table).maximum
    wide = Console(width=max(console.width, needed), highlight=False)
    wide.print(table, crop=False)


def orders(rows: Sequence[Row]) -> Table:
    """Return the orders, one a line, with their ids."""
    names = ("symbol", "side", "type", "quantity>", "filled>", "status", "strategy", "why")
    table = grid("id", "time", *names)
    for row in rows:
        table.add_row(
            str(row.get("id") or row.get("order_id")),
            clock_of(row.get("created_at")),
            str(row.get("symbol")),
            styled(row.get("side")),
            order_kind(row),
            quantity(row.get("quantity") or row.get("notional")),
            quantity(row.get("filled_quantity")),
            styled(row.get("status")),
            str(row.get("strategy_id") or "–"),
            str(row.get("reject_reason") or row.get("anomaly") or ""),
        )
    return table


def triggers(rows: Sequence[Row]) -> Table:
    """Return the triggers, one a line, with their ids."""
    names = ("symbol", "side", "type", "quantity>", "when", "until", "status", "order", "why")
    table = grid("id", "time", *names)
    for row in rows:
        order = row.get("order") or {}
        word = "above" if row.get("above") is not None else "below"
        table.add_row(
            str(row.get("id")),
            clock_of(row.get("created_at")),
            str(row.get("symbol")),
            styled(order.get("side")),
            order_kind(order),
            quantity(order.get("quantity") or order.get("notional")),
            f"{word} {quantity(row.get(word))}",
            str(row.get("valid_until") or "–"),
            styled(row.get("status")),
            str(row.get("order_id") or "–"),
            str(row.get("reason") or ""),
        )
    return table


def order_kind(row: Row) -> str:
    """Return the order type with its prices, as `limit 10.5`."""
    names = ("stop_price", "limit_price", "trail_price", "trail_percent")
    prices = [row.get(name) for name in names]
    return " ".join(
        [str(row.get("order_type", "?")), *(quantity(price) for price in prices if price)]
    )


def quantity(value: Any) -> str:
    """Return a decimal string without the zeros that say nothing: `7.00000000` is `7`."""
    text = "–" if value is None else str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def positions(rows: Sequence[Row]) -> Table:
    """Return the positions, one a line."""
    table = grid(
        "symbol", "quantity>", "avg cost>", "mark>", "value>", "unrealized>", "realized>", ""
    )
    for row in rows:
        table.add_row(
            str(row.get("symbol")),
            quantity(row.get("quantity")),
            money(row.get("avg_cost")),
            money(row.get("mark")),
            money(row.get("market_value")),
            signed(row.get("unrealized_pnl")),
            signed(row.get("realized_pnl")),
            Text("stale price", style="yellow") if row.get("stale") else "",
        )
    return table


def shares(rows: Sequence[Row]) -> Table:
    """Return what one strategy holds and has made, a symbol a line, and the sums."""
    table = grid("symbol", "quantity>", "mark>", "value>", "P&L>")
    for row in rows:
        table.add_row(
            str(row.get("symbol")),
            quantity(row.get("quantity")),
            money(row.get("mark")),
            money(row.get("market_value")),
            signed(row.get("pnl")),
        )
    value, profit = (_sum(rows, name) for name in ("market_value", "pnl"))
    table.add_row("in all", "", "", money(value), signed(profit))
    return table


def _sum(rows: Sequence[Row], name: str) -> str | None:
    """Return the sum of a column, None if a cell is unknown."""
    cells = [row.get(name) for row in rows]
    return None if None in cells else str(sum(Decimal(str(cell)) for cell in cells))


def trace(story: Row) -> Table:
    """Return a story's steps with the time spent between them."""
    table = grid("since start>", "step>", "service", "what", "title")
    for item in story.get("steps", []):
        step = item.get("step", item)
        table.add_row(
            milliseconds(item.get("since_start_ms")),
            milliseconds(item.get("since_previous_ms")),
            str(step.get("service", "")),
            str(step.get("kind", "")),
            str(step.get("title", "")),
        )
    return table


def milliseconds(value: Any) -> str:
    """Return a duration, a dash where there is none."""
    return "–" if value is None else f"{float(value):,.1f} ms"
