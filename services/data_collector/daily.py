"""The daily bar: asked of the provider's history once the regular session has closed."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from libs.common.contracts.messages import Bar
from libs.common.domain.sessions import Session, SessionCalendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import to_ns
from libs.common.kernel.errors import UnavailableError
from libs.common.runtime.logging import get_logger
from services.data_collector.bar_keeper import BarKeeper, normal
from services.data_collector.history import day_start_ns, last_closed
from services.data_collector.metrics import ROWS
from services.data_collector.ports import BarStore, HistoryProvider
from services.data_collector.validation import check_bar

_log = get_logger(__name__)
_POLL_S = 1.0
_ASK_AGAIN_S = 5.0


class DailyBars:
    """Stores and publishes the `1d` bar of each session, as soon as the provider has it."""

    def __init__(
        self,
        *,
        store: BarStore,
        history: HistoryProvider,
        keeper: BarKeeper,
        calendar: SessionCalendar,
        symbols: Sequence[str],
        now: Callable[[], datetime],
        wall_ns: Callable[[], int],
    ) -> None:
        self._store = store
        self._history = history
        self._keeper = keeper
        self._calendar = calendar
        self._symbols = symbols
        self._now = now
        self._wall_ns = wall_ns

    async def run(self) -> None:
        """Watch for the close of sessions until cancelled."""
        while True:
            session = last_closed(self._calendar, self._now())
            try:
                wait_s = _POLL_S if session is None or await self._done(session) else _ASK_AGAIN_S
            except UnavailableError as error:
                _log.warning("daily_bars_wait", error=str(error))
                wait_s = _ASK_AGAIN_S
            await asyncio.sleep(wait_s)

    async def _done(self, session: Session) -> bool:
        """Whether every symbol has its bar of `session`; asks for those that are missing."""
        start = day_start_ns(session)
        stored = await self._store.last_bar_ns(self._symbols, Timeframe.DAY)
        missing = [symbol for symbol in self._symbols if stored.get(symbol, -1) < start]
        if not missing:
            return True
        found = await self._history.bars(missing, Timeframe.DAY, start, to_ns(session.close))
        bars: dict[str, list[Bar]] = {
            symbol: [normal(bar) for bar in some if check_bar(bar) is None]
            for symbol, some in found.items()
        }
        ROWS.labels("market_ohlcv").inc(await self._store.add_bars(self._history.name, bars))
        received_ns = dict.fromkeys(bars, self._wall_ns())
        await self._keeper.announce(self._history.name, bars, received_ns)
        return all(bars.get(symbol) for symbol in missing)
