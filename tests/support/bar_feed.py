"""Real bars, and a stand-in for the data collector: table first, then the channel."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import redis
from skfolio.datasets import load_sp500_dataset

from libs.common.contracts.channels import MARKET_DATA
from libs.common.contracts.envelope import encode, seal
from libs.common.contracts.messages import Bar, MarketData
from libs.common.kernel.clock import from_ns
from libs.common.quant.simulation.records import BAR

RECEIVED_NS = 1_700_000_000_000_000_000


def daily_bars(symbol: str, count: int) -> np.ndarray:
    """Return the last `count` real daily closes as bars; a day opens where the last one closed."""
    close = load_sp500_dataset()[symbol].tail(count)
    bars = np.zeros(count, BAR)
    bars["ts"] = close.index.to_numpy().astype("datetime64[ns]").astype("i8")
    bars["close"] = close.to_numpy()
    bars["open"] = np.concatenate([bars["close"][:1], bars["close"][:-1]])
    bars["high"] = np.maximum(bars["open"], bars["close"])
    bars["low"] = np.minimum(bars["open"], bars["close"])
    bars["volume"] = 1000.0
    return bars


def minute_bars(folder: Path, symbol: str) -> np.ndarray:
    """Return the real minute bars of `symbol` from the shared data; minutes without trade miss."""
    frame = pd.read_parquet(folder / "minute_trades.parquet")
    frame = frame[frame["symbol"] == symbol]
    bars = np.zeros(len(frame), BAR)
    bars["ts"] = frame["ts"].dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype("i8")
    for name in ("open", "high", "low", "close", "volume"):
        bars[name] = frame[name].to_numpy(float)
    return bars


_INSERT = (
    "INSERT INTO market_ohlcv (symbol, timeframe, ts, open, high, low, close, volume, provider)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'test') ON CONFLICT DO NOTHING"
)


def _row(bar: np.void) -> tuple[object, ...]:
    figures = ("open", "high", "low", "close", "volume")
    return from_ns(int(bar["ts"])), *(repr(float(bar[name])) for name in figures)


class BarFeed:
    """Stores bars as the data collector does, and publishes them."""

    def __init__(self, database_url: str, redis_url: str, timeframe: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._redis = redis.Redis.from_url(redis_url)
        self._months: set[str] = set()
        self.timeframe = timeframe

    def __enter__(self) -> BarFeed:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._redis.close()

    def heard(self) -> bool:
        """Tell whether anyone listens: Pub/Sub forgets whoever is away."""
        return bool(self._redis.pubsub_numpat())

    def store(self, symbol: str, bars: np.ndarray) -> None:
        """Put bars into the table; those that are there already stay as they are."""
        months = {from_ns(int(ts)).strftime("%Y-%m-01") for ts in bars["ts"]}
        if months - self._months and not all(map(self._is_prepared, months)):
            self._prepare(min(months), max(months))
        self._months |= months
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(_INSERT, [(symbol, self.timeframe, *_row(bar)) for bar in bars])

    def _prepare(self, first: str, last: str) -> None:
        """Make the partitions from one month to a year after another.

        A new one waits for everybody who reads the table, and whoever reads it in this process
        waits for us: so as few times as can be, and early.
        """
        self._connection.execute(
            """
            SELECT ensure_month_partition('market_ohlcv', month::date)
              FROM generate_series(%s::date, %s::date + interval '1 year', '1 month') AS month
            """,
            (first, last),
        )

    def _is_prepared(self, month: str) -> bool:
        name = f"market_ohlcv_p_{month[:4]}_{month[5:7]}"
        row = self._connection.execute("SELECT to_regclass(%s)", (name,)).fetchone()
        return row is not None and row[0] is not None

    def publish(self, symbol: str, bars: np.ndarray) -> uuid.UUID:
        """Publish bars as one batch; return its correlation id."""
        correlation_id = uuid.uuid4()
        payload = MarketData(
            symbol=symbol,
            provider="test",
            ts_init=RECEIVED_NS,
            bars=tuple(
                Bar(
                    timeframe=self.timeframe,
                    ts_event=int(bar["ts"]),
                    open=float(bar["open"]),
                    high=float(bar["high"]),
                    low=float(bar["low"]),
                    close=float(bar["close"]),
                    volume=float(bar["volume"]),
                )
                for bar in bars
            ),
        )
        envelope = seal(
            payload,
            message_id=uuid.uuid4(),
            ts_ns=RECEIVED_NS,
            source="data_collector",
            correlation_id=correlation_id,
        )
        self._redis.publish(MARKET_DATA.name(symbol), encode(envelope))
        return correlation_id

    def close(self, symbol: str, bars: np.ndarray) -> uuid.UUID:
        """Store, then publish."""
        self.store(symbol, bars)
        return self.publish(symbol, bars)
