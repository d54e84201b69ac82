"""A recorded live session read from the database, for the service and for `tradewind parity`.

One read-only transaction with one snapshot, so it may run while trading goes on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import psycopg
from psycopg.rows import dict_row

from libs.common.backtest.parity.session import LiveSignal, LiveStrategy, Session
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from libs.common.quant.simulation.records import BAR
from libs.common.quant.simulation.sleeves import Method, Sizing

_SIGNALS: Final = """
    SELECT s.id, s.strategy_id, s.symbol, s.bar_ts, s.target, s.stop, s.take_profit, s.limit_price,
           s.reference_price, s.mode, a.reference_price AS judged, a.verdict, a.code,
           o.side, o.quantity, o.status, f.shares, f.money, f.first
    FROM signals s
    LEFT JOIN risk_assessments a ON a.signal_id = s.id
    LEFT JOIN LATERAL (
        SELECT side, quantity, status FROM orders
        WHERE signal_id = s.id AND parent_id IS NULL ORDER BY created_at LIMIT 1
    ) o ON true
    LEFT JOIN LATERAL (
        SELECT sum(t.quantity) AS shares, sum(t.quantity * t.executed_price) AS money,
               min(t.executed_at) AS first
        FROM trades t JOIN orders x ON x.id = t.order_id
        WHERE t.signal_id = s.id AND x.parent_id IS NULL
          AND NOT EXISTS (SELECT 1 FROM trade_reversals v WHERE v.trade_id = t.id)
    ) f ON true
    WHERE s.bar_ts < %(end)s ORDER BY s.bar_ts, s.strategy_id, s.symbol
"""
_BARS: Final = """
    SELECT symbol, ts, open, high, low, close, volume FROM market_ohlcv
    WHERE timeframe = %(timeframe)s AND symbol = ANY(%(symbols)s) AND ts < %(end)s
    ORDER BY symbol, ts
"""
# The memory counts its bars: the first of them is that many before the last.
_BEGUN: Final = """
    SELECT s.strategy_id, s.symbol, b.ts FROM strategy_states s
    JOIN strategies g ON g.id = s.strategy_id
    CROSS JOIN LATERAL (
        SELECT ts FROM market_ohlcv m
        WHERE m.symbol = s.symbol AND m.timeframe = g.timeframe AND m.ts <= s.as_of
        ORDER BY ts DESC OFFSET greatest(s.bars::bigint - 1, 0) LIMIT 1
    ) b
"""
_EQUITY: Final = """
    SELECT equity FROM portfolio_equity WHERE account_id = %(account)s ORDER BY ts LIMIT 1
"""
_LIMITS: Final = """
    SELECT scope, scope_key, name, value FROM risk_limits
    WHERE account_id = %(account)s AND scope IN ('account', 'strategy')
"""


# A day is over once a bar near the session's end, or one of a later day, is stored.
_LAST_DAY: Final = """
    SELECT max(day) AS day FROM (
        SELECT (bar_ts AT TIME ZONE 'America/New_York')::date AS day FROM signals
        WHERE (bar_ts AT TIME ZONE 'America/New_York')::date <= (
            SELECT CASE WHEN seen::time >= '15:55' THEN seen::date ELSE seen::date - 1 END
            FROM (SELECT max(ts) AT TIME ZONE 'America/New_York' AS seen FROM market_ohlcv) AS bars
        )
        ORDER BY bar_ts DESC LIMIT 1
    ) AS recorded
"""


class SessionReader:
    """Reads sessions of one account, in threads."""

    def __init__(self, url: str, account: str) -> None:
        self._url = url
        self._account = account

    async def read(self, start_ns: int, end_ns: int) -> Session:
        """Return what was recorded of [start, end); see the port."""
        return await asyncio.to_thread(read_session, self._url, start_ns, end_ns, self._account)

    async def last_day(self) -> str | None:
        """Return the last day that is over and has signals; see the port."""
        return await asyncio.to_thread(last_day, self._url)


def last_day(url: str) -> str | None:
    """Return the last day of market time that is over and has signals, as 2019-03-05; None if there
    is none. Raises UnavailableError."""
    try:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            row = connection.execute(_LAST_DAY).fetchone()
    except psycopg.Error as error:
        raise UnavailableError(f"database: {str(error).splitlines()[0]}") from error
    found: dt.date | None = row["day"] if row else None
    return None if found is None else found.isoformat()


def read_session(url: str, start_ns: int, end_ns: int, account: str) -> Session:
    """Return what was recorded of [start, end).

    Raises UnavailableError if the database cannot be read, InvalidInputError if it holds no signal
    of that time.
    """
    try:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            connection.read_only = True
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            return _session(connection, start_ns, end_ns, account)
    except psycopg.Error as error:
        raise UnavailableError(f"database: {str(error).splitlines()[0]}") from error


def _session(
    connection: psycopg.Connection[dict[str, Any]], start_ns: int, end_ns: int, account: str
) -> Session:
    asked = {"end": from_ns(end_ns), "account": account}
    signals = tuple(_signal(row) for row in connection.execute(_SIGNALS, asked))
    if not any(signal.bar_ts >= start_ns for signal in signals):
        raise InvalidInputError(
            f"no signal is recorded between {from_ns(start_ns):%Y-%m-%d %H:%M} and "
            f"{from_ns(end_ns):%Y-%m-%d %H:%M} UTC (market time)"
        )
    limits = connection.execute(_LIMITS, asked).fetchall()
    seen = {signal.strategy_id for signal in signals}
    begun: dict[str, dict[str, int]] = {}
    for first in connection.execute(_BEGUN):
        begun.setdefault(first["strategy_id"], {})[first["symbol"]] = to_ns(first["ts"])
    strategies = tuple(
        _strategy(row, limits, begun.get(row["id"], {}))
        for row in connection.execute("SELECT * FROM strategies ORDER BY id")
        if row["id"] in seen
    )
    bars: dict[Timeframe, dict[str, np.ndarray]] = {}
    for timeframe in {each.timeframe for each in strategies}:
        symbols = sorted({s for each in strategies for s in each.symbols})
        values = {**asked, "timeframe": timeframe.value, "symbols": symbols}
        bars[timeframe] = _bars(connection.execute(_BARS, values))
    row = connection.execute(_EQUITY, asked).fetchone()
    equity = 1.0 if row is None else float(row["equity"])
    return Session(start_ns, end_ns, equity, strategies, bars, signals)


def _signal(row: Mapping[str, Any]) -> LiveSignal:
    side = {"buy": 1.0, "sell": -1.0}.get(row["side"] or "", 0.0)
    shares = float(row["shares"] or 0)
    found = LiveSignal(
        id=str(row["id"]),
        strategy_id=row["strategy_id"],
        symbol=row["symbol"],
        bar_ts=to_ns(row["bar_ts"]),
        target=row["target"],
        stop=_price(row["stop"]),
        take_profit=_price(row["take_profit"]),
        limit=_price(row["limit_price"]),
        reference=float(row["reference_price"]),
        traded=row["mode"] == "live",
        judged=_price(row["judged"]),
        code=row["code"] or "" if row["verdict"] == "denied" else "",
        ordered=side * float(row["quantity"] or 0) if row["verdict"] != "denied" else 0.0,
        status=row["status"] or "",
    )
    if not shares:
        return found
    first: dt.datetime = row["first"]
    return replace(
        found,
        filled=side * shares,
        price=float(row["money"]) / shares,
        filled_at=to_ns(first),
    )


def _price(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _strategy(
    row: Mapping[str, Any], limits: Sequence[Mapping[str, Any]], begun: Mapping[str, int]
) -> LiveStrategy:
    return LiveStrategy(
        id=row["id"],
        class_name=row["class_name"],
        version_hash=row["version_hash"],
        params=row["params"],
        symbols=tuple(row["universe"]),
        timeframe=Timeframe(row["timeframe"]),
        weight=float(row["weight"]),
        sizing=_sizing(row["id"], limits),
        begun=begun,
    )


def _sizing(strategy_id: str, limits: Sequence[Mapping[str, Any]]) -> Sizing:
    """Return how the risk manager sizes: by what is set for the strategy, else for the account."""
    for scope in (("strategy", strategy_id), ("account", "")):
        named = {r["name"]: r["value"] for r in limits if (r["scope"], r["scope_key"]) == scope}
        for method in Method:
            if f"size_{method.value}" in named:
                weight = float(named.get("size_weight_max", 0.1))
                return Sizing(method, float(named[f"size_{method.value}"]), weight)
    raise InvalidInputError(f"{strategy_id}: no limit says how it is sized (size_…)")


def _bars(rows: Any) -> dict[str, np.ndarray]:
    by_symbol: dict[str, list[tuple[Any, ...]]] = {}
    for row in rows:
        prices = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
        by_symbol.setdefault(row["symbol"], []).append((to_ns(row["ts"]), *prices))
    return {symbol: np.array(found, BAR) for symbol, found in by_symbol.items()}
