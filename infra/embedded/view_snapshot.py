"""One look at the running system through the gateway."""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

ROWS = 8
SOURCES: Mapping[str, str] = {
    "health": "/api/v1/monitoring/health",
    "quotes": "/api/v1/market/quotes/latest",
    "signals": f"/api/v1/strategies/signals?limit={ROWS}",
    "orders": f"/api/v1/orders?limit={ROWS}",
    "trades": f"/api/v1/orders/trades?limit={ROWS}",
    "account": "/api/v1/portfolio/account",
    "positions": "/api/v1/portfolio/positions",
    "risk": "/api/v1/risk/state",
    "assessments": f"/api/v1/risk/assessments?limit={ROWS}",
}
PRICES_KEPT = 60

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What each source answered last, and which did not answer this time and why."""

    answers: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    gateway_ms: float | None = None
    prices: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def rows(self, name: str) -> Sequence[Row]:
        """Return the list that `name` answered, whether plain or wrapped in `items`."""
        return rows_of(self.answers.get(name))

    def one(self, name: str) -> Row:
        """Return the object that `name` answered, empty if it gave none."""
        value = self.answers.get(name)
        return value if isinstance(value, dict) else {}


def rows_of(answer: Any) -> Sequence[Row]:
    """Return the rows of an answer: a list, or an object with one under `items`."""
    if isinstance(answer, dict):
        answer = answer.get("items", [])
    return [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []


async def collect(client: httpx.AsyncClient, before: Snapshot, symbols: Sequence[str]) -> Snapshot:
    """Ask every source at once; what does not answer keeps its former answer."""
    import asyncio

    started = time.perf_counter()
    paths = {**SOURCES, "quotes": f"{SOURCES['quotes']}?symbols={','.join(symbols)}"}
    results = await asyncio.gather(*(_ask(client, path) for path in paths.values()))
    gateway_ms = (time.perf_counter() - started) * 1000
    answers = dict(before.answers)
    errors = {}
    for name, (answer, error) in zip(SOURCES, results, strict=True):
        if error:
            errors[name] = error
        else:
            answers[name] = answer
    prices = dict(before.prices)
    if "quotes" not in errors:
        for row in rows_of(answers["quotes"]):
            price = middle(row)
            symbol = str(row.get("symbol", ""))
            if price is not None and symbol:
                prices[symbol] = (*prices.get(symbol, ()), price)[-PRICES_KEPT:]
    return Snapshot(answers, errors, gateway_ms, prices)


async def _ask(client: httpx.AsyncClient, path: str) -> tuple[Any, str]:
    # Not above: commands that only show a table import this module, and httpx takes longer.
    import httpx

    try:
        response = await client.get(path)
    except httpx.HTTPError as error:
        return None, f"{type(error).__name__} {error}".strip()
    try:
        body = response.json()
    except ValueError:
        body = None
    if response.status_code == 200:
        return body, "" if body is not None else "no JSON"
    detail = body.get("detail") if isinstance(body, dict) else None
    return None, str(detail or f"status {response.status_code}")


def legs_ms(seen: Snapshot) -> dict[str, float]:
    """Return the median wall milliseconds of each leg of the last orders' way.

    `signal to order`: signal stored to order written; `order to broker`: to its acknowledgement;
    `order to fill`: to the last change of a filled order. Legs nothing is known of are left out.
    """
    signals = {row.get("signal_id"): row.get("created_at") for row in seen.rows("signals")}
    found: dict[str, list[float]] = {}
    for order in seen.rows("orders"):
        created = order.get("created_at")
        filled = order.get("updated_at") if order.get("status") == "filled" else None
        for leg, start, end in (
            ("signal to order", signals.get(order.get("signal_id")), created),
            ("order to broker", created, order.get("submitted_at")),
            ("order to fill", created, filled),
        ):
            span = _span_ms(start, end)
            if span is not None:
                found.setdefault(leg, []).append(span)
    return {leg: statistics.median(spans) for leg, spans in found.items()}


def _span_ms(start: Any, end: Any) -> float | None:
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    try:
        span = dt.datetime.fromisoformat(end) - dt.datetime.fromisoformat(start)
    except ValueError:
        return None
    return span / dt.timedelta(milliseconds=1)


def number(value: Any) -> float | None:
    """Return a decimal string or number as float for display, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def middle(quote: Row) -> float | None:
    """Return the middle of bid and ask, or the last price where one side is missing."""
    bid, ask = number(quote.get("bid")), number(quote.get("ask"))
    if bid and ask:
        return (bid + ask) / 2
    return number(quote.get("last")) or bid or ask
