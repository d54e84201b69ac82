"""`--data store`: the bars that a running system has recorded, page by page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from cli.stored_bars import StoredBars
from libs.common.backtest.data import Wanted
from libs.common.domain.timeframes import Timeframe
from tests.support.gateway_stand_in import StandIn, tradewind

BARS = "/api/v1/market/bars"
OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
WORDS = ("backtest", "sma_cross", "--symbols", "KO", "--timeframe", "1m", "--data", "store",
         "--set", "fast=3", "--set", "slow=9", "--no-report", "--json")  # fmt: skip


def page(count: int, close: float = 0.0, first: int = 0) -> bytes:
    lines = ["ts,open,high,low,close,volume,vwap,trades,provider"]
    for i in range(first, first + count):
        price = close or 50 + (i // 12 % 2) * 0.1 * (i % 12)
        ts = (OPEN + timedelta(minutes=i)).isoformat()
        lines.append(f"{ts},{price},{price},{price},{price},1000.00000000,,,test")
    return "\n".join(lines).encode()


def test_recorded_bars_are_tested_on(gateway: StandIn, tmp_path: Path) -> None:
    gateway.says(BARS, page(200))
    done = tradewind(*WORDS, "--out", str(tmp_path))
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["data"]["bars"] == 200
    assert found["data"]["source"] == f"{gateway.url}{BARS}"
    assert found["trades"] > 3
    (asked,) = gateway.asked
    assert "symbol=KO&timeframe=1m&start=1970-01-01T00%3A00%3A00Z" in asked["query"]


def test_what_is_wrong_with_them_is_said(gateway: StandIn) -> None:
    for answer, status, complaint in (
        (page(0), 200, "no bars of KO of 1m"),
        (page(20, close=-1.0), 200, "open -1 is not above 0"),
        ({"detail": "no instrument KOO; did you mean KO?"}, 404, "did you mean KO"),
    ):
        gateway.says(BARS, answer, status)
        done = tradewind(*WORDS)
        assert done.exit_code == 1
        assert complaint in done.output


def test_a_full_page_is_followed_by_the_next(gateway: StandIn) -> None:
    gateway.says_in_turn(BARS, page(20), page(7, first=20))
    found = StoredBars(page=20).read(Wanted(("KO",), Timeframe.MINUTE))
    assert len(found.bars["KO"]) == 27
    last = (OPEN + timedelta(minutes=19)).isoformat()
    assert httpx.QueryParams(gateway.asked[1]["query"])["after"] == last
