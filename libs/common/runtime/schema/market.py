"""Tables of `data_collector`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    func,
    text,
)

from libs.common.domain.instruments import AssetClass, Instrument
from libs.common.runtime.schema.base import Instant, Json, Price, Quantity, partitioned, table

WRITER = ("data_collector",)

instruments = table(
    "instruments",
    Column("symbol", Text, primary_key=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("exchange", Text, nullable=False),
    Column("asset_class", Text, nullable=False),
    Column("currency", Text, nullable=False, server_default="USD"),
    Column("tick_size", Price, nullable=False),
    Column("lot_size", Quantity, nullable=False),
    Column("sector", Text, nullable=False, server_default="unknown"),
    Column("tradable", Boolean, nullable=False),
    Column("shortable", Boolean, nullable=False),
    Column("fractionable", Boolean, nullable=False),
    Column("restricted", Boolean, nullable=False, server_default=text("false")),
    Column("provider_symbols", Json, nullable=False, server_default=text("'{}'::jsonb")),
    Column("valid_from", Instant, nullable=False, server_default=func.now()),
    Column("valid_to", Instant),
    CheckConstraint("tick_size > 0", name="tick_size_positive"),
    CheckConstraint("lot_size > 0", name="lot_size_positive"),
    writers=WRITER,
)

market_quotes = partitioned(
    "market_quotes",
    Column("symbol", Text, nullable=False),
    Column("ts", Instant, nullable=False),
    Column("bid", Price),
    Column("ask", Price),
    Column("bid_size", Quantity),
    Column("ask_size", Quantity),
    Column("last_price", Price),
    Column("volume", Quantity),
    Column("provider", Text, nullable=False),
    Column("quality", Numeric(4, 3)),
    Index("ix_market_quotes_symbol_ts", "symbol", "ts"),
    by="ts",
    writers=WRITER,
)

market_ohlcv = partitioned(
    "market_ohlcv",
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("ts", Instant, nullable=False),
    Column("open", Price, nullable=False),
    Column("high", Price, nullable=False),
    Column("low", Price, nullable=False),
    Column("close", Price, nullable=False),
    Column("volume", Quantity, nullable=False),
    Column("vwap", Price),
    Column("trades", BigInteger),
    Column("adjusted_close", Price),
    Column("provider", Text, nullable=False),
    PrimaryKeyConstraint("symbol", "timeframe", "ts"),
    by="ts",
    writers=WRITER,
)

market_quarantine = table(
    "market_quarantine",
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("ts", Instant),
    Column("received_at", Instant, nullable=False, server_default=func.now()),
    Column("provider", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("tick", Json, nullable=False),
    Index("ix_market_quarantine_symbol_received_at", "symbol", "received_at"),
    writers=WRITER,
)

data_quality = table(
    "data_quality",
    Column("provider", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("score", Numeric(5, 4), nullable=False),
    Column("completeness", Numeric(5, 4), nullable=False),
    Column("timeliness", Numeric(5, 4), nullable=False),
    Column("validity", Numeric(5, 4), nullable=False),
    Column("consistency", Numeric(5, 4), nullable=False),
    Column("uniqueness", Numeric(5, 4), nullable=False),
    Column("ticks", Integer, nullable=False),
    PrimaryKeyConstraint("provider", "symbol", "day"),
    writers=WRITER,
)


def instrument_of(row: Mapping[Any, Any]) -> Instrument:
    """Return the instrument that a row of `instruments` describes."""
    values = {field.name: row[field.name] for field in fields(Instrument)}
    return Instrument(**{**values, "asset_class": AssetClass(row["asset_class"])})
