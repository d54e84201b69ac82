"""A live session of one strategy as the engine records it."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from pathlib import Path

import numpy as np
import psycopg

from libs.common.backtest.shelf import load_named
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.quant.simulation.records import BAR
from libs.common.strategy.kinds import runners_of

BUILT_IN = Path(__file__).resolve().parents[2] / "strategies"
OPEN = dt.datetime(2024, 1, 2, 14, 30, tzinfo=dt.UTC)
MINUTE = 60_000_000_000
BARS = 200


def bars() -> np.ndarray:
    made = np.zeros(BARS, BAR)
    made["ts"] = to_ns(OPEN) + np.arange(BARS) * MINUTE
    for name in ("open", "high", "low", "close"):
        made[name] = np.round(50 + 5 * np.sin(np.arange(BARS) / 8.0), 2)
    made["volume"] = 1000
    return made


def record(url: str) -> int:
    """Write a session of sma_cross on KO as the engine would; return how many signals it has."""
    loaded = load_named(["sma_cross"], [BUILT_IN]).get("sma_cross")
    (runner,) = runners_of(loaded.definition, {}, ("KO",), Timeframe.MINUTE)
    signals = runner.decide({"KO": bars()})["KO"]
    with psycopg.connect(url) as connection:
        connection.execute("SELECT ensure_month_partition('market_ohlcv', '2024-01-01'::date)")
        connection.cursor().executemany(
            "INSERT INTO market_ohlcv (symbol, timeframe, ts, open, high, low, close, volume,"
            " provider) VALUES ('KO', '1m', %s, %s, %s, %s, %s, %s, 'test')",
            [(from_ns(int(b["ts"])), *(float(b[n]) for n in BAR.names[1:])) for b in bars()],
        )
        connection.execute(
            "INSERT INTO strategies (id, class_name, version_hash, params, universe, timeframe,"
            " mode) VALUES ('cross', 'sma_cross', %s, '{}', %s, '1m', 'live')",
            (loaded.version_hash, json.dumps(["KO"])),
        )
        connection.execute(
            "INSERT INTO risk_limits (account_id, scope, name, value, set_by)"
            " VALUES ('main', 'account', 'size_percent_of_equity', 0.04, 'test')"
        )
        connection.cursor().executemany(
            "INSERT INTO signals (id, strategy_id, symbol, timeframe, bar_ts, ts, target,"
            " confidence, reference_price, mode, features, correlation_id)"
            " VALUES (%s, 'cross', 'KO', '1m', %s, %s, %s, 1, %s, 'live', '{}', %s)",
            [
                (uuid.uuid4(), from_ns(int(bars()["ts"][s["index"]])), OPEN, float(s["target"]),
                 float(bars()["close"][s["index"]]), uuid.uuid4())
                for s in signals
            ],
        )  # fmt: skip
    return len(signals)


def store_bar(url: str, ts: dt.datetime) -> None:
    """Store one more bar."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO market_ohlcv (symbol, timeframe, ts, open, high, low, close, volume,"
            " provider) VALUES ('KO', '1m', %s, 50, 50, 50, 50, 1000, 'test')",
            (ts,),
        )
