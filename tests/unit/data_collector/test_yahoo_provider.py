"""Yahoo through the real yfinance, offline: the answer of its chart endpoint is a file.

The file has the endpoint's shape (v8) and Apple's prices of 2024-01-02 to 04; it was composed,
not captured.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yfinance
from requests.adapters import BaseAdapter

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import InvalidInputError, UnavailableError
from services.data_collector.adapters.yahoo import YahooProvider

ANSWER = Path(__file__).parent / "answers" / "yahoo_chart_aapl.json"
NOT_FOUND = (
    b'{"chart":{"result":null,"error":{"code":"Not Found",'
    b'"description":"No data found, symbol may be delisted"}}}'
)
START = to_ns(datetime(2024, 1, 2, tzinfo=UTC))
DAY_NS = 86_400_000_000_000
END = to_ns(datetime(2024, 1, 6, tzinfo=UTC))


class Recorded(BaseAdapter):
    """Answers every request for AAPL's chart with the kept answer, and no other."""

    def __init__(self, status: int = 200) -> None:
        super().__init__()
        self._status = status

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        response = requests.Response()
        response.request, response.url = request, request.url or ""
        known = urlsplit(response.url).path.endswith("/chart/AAPL")
        response.status_code = self._status if known else 404
        response._content = ANSWER.read_bytes() if known else NOT_FOUND
        response.headers["Content-Type"] = "application/json"
        return response

    def close(self) -> None:
        return


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path) -> None:
    yfinance.set_tz_cache_location(str(tmp_path))


def provider(status: int = 200) -> YahooProvider:
    session = requests.Session()
    session.mount("https://", Recorded(status))
    return YahooProvider(2.0, session)


async def test_daily_bars_are_raw_and_days_without_prices_are_left_out() -> None:
    found = await provider().bars(["AAPL"], Timeframe.DAY, START, END)
    assert [(bar.ts_event, round(bar.open, 2), bar.close, bar.volume) for bar in found["AAPL"]] == [
        (to_ns(datetime(2024, 1, 2, 5, tzinfo=UTC)), 187.15, 185.63999938964844, 82488700.0),
        (to_ns(datetime(2024, 1, 3, 5, tzinfo=UTC)), 184.22, 184.25, 58414500.0),
        (to_ns(datetime(2024, 1, 4, 5, tzinfo=UTC)), 182.15, 181.91000366210938, 71983600.0),
    ]


async def test_bars_outside_the_range_are_cut() -> None:
    end = to_ns(datetime(2024, 1, 3, tzinfo=UTC))
    found = await provider().bars(["AAPL"], Timeframe.DAY, START, end)
    assert len(found["AAPL"]) == 1


async def test_unknown_symbol_has_no_bars() -> None:
    assert await provider().bars(["NOSUCH"], Timeframe.DAY, START, END) == {}


async def test_rate_limit_is_an_unavailable_provider() -> None:
    with pytest.raises(UnavailableError, match="yahoo AAPL"):
        # Another range than above: yfinance remembers the answers of a process.
        await provider(429).bars(["AAPL"], Timeframe.DAY, START, END + 7 * DAY_NS)


async def test_timeframe_that_yahoo_lacks_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="1s"):
        await provider().bars(["AAPL"], Timeframe.SECOND, START, END)
