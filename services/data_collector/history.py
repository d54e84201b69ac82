"""History into the tables: the warm-up at start, a backfill on request, the daily bar."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from libs.common.contracts.messages import Bar
from libs.common.domain.sessions import NEW_YORK, Session, SessionCalendar
from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.clock import from_ns, to_ns
from libs.common.runtime.logging import get_logger
from services.data_collector.bar_keeper import normal
from services.data_collector.bars import DERIVED, fold_all
from services.data_collector.metrics import QUARANTINED, ROWS
from services.data_collector.ports import BarStore, HistoryProvider, TickStore
from services.data_collector.validation import Quarantined, check_bar, quarantined

_log = get_logger(__name__)


class Backfill:
    """Fetches closed bars of a range, checks, folds and stores them."""

    def __init__(self, *, bars: BarStore, ticks: TickStore, calendar: SessionCalendar) -> None:
        self._bars = bars
        self._ticks = ticks
        self._calendar = calendar

    async def fetch(
        self,
        provider: HistoryProvider,
        symbols: Sequence[str],
        timeframe: Timeframe,
        start_ns: int,
        now_ns: int,
        *,
        end_ns: int | None = None,
        replace: bool = False,
    ) -> int:
        """Store the bars of [start, end) that are closed at `now_ns`; returns how many were new.

        Minute bars bring the longer bars that they fold to. Raises UnavailableError.
        """
        end_ns = min(end_ns or now_ns, now_ns)
        if timeframe is Timeframe.MINUTE:
            # The newest minute may not be in the history yet: it is left to the stream, so that
            # no longer bar is folded without it.
            end_ns = min(end_ns, timeframe.floor(now_ns - timeframe.ns))
        found = await provider.bars(symbols, timeframe, start_ns, end_ns)
        good, bad = self._sift(found, timeframe, now_ns)
        if timeframe is Timeframe.MINUTE:
            for symbol, minutes in list(good.items()):
                longer = [
                    normal(bar)
                    for wanted in DERIVED
                    for bar in _whole(minutes, wanted, start_ns, end_ns)
                ]
                good[symbol] = minutes + longer
        written = await self._bars.add_bars(provider.name, good, replace=replace)
        ROWS.labels("market_ohlcv").inc(written)
        await self._ticks.quarantine(provider.name, bad)
        _log.info(
            "backfilled",
            provider=provider.name,
            timeframe=timeframe.value,
            symbols=len(good),
            bars=written,
            refused=len(bad),
        )
        return written

    def _sift(
        self, found: Mapping[str, Sequence[Bar]], timeframe: Timeframe, now_ns: int
    ) -> tuple[dict[str, list[Bar]], list[Quarantined]]:
        good: dict[str, list[Bar]] = {}
        bad: list[Quarantined] = []
        for symbol, bars in found.items():
            for bar in bars:
                if self._end_ns(bar.ts_event, timeframe) > now_ns:
                    continue
                code = check_bar(bar)
                if code is None:
                    good.setdefault(symbol, []).append(normal(bar))
                else:
                    QUARANTINED.labels(code.value).inc()
                    bad.append(quarantined(symbol, code, bar))
        return good, bad

    def _end_ns(self, start_ns: int, timeframe: Timeframe) -> int:
        """When a bar is closed: a day with its regular session, else after its span."""
        if timeframe is not Timeframe.DAY:
            return start_ns + timeframe.ns
        session = self._calendar.session_on(from_ns(start_ns).astimezone(NEW_YORK).date())
        return to_ns(session.close) if session else start_ns + timeframe.ns


def _whole(minutes: Sequence[Bar], timeframe: Timeframe, start_ns: int, end_ns: int) -> list[Bar]:
    """The longer bars whose every minute lies in [start, end); a cut one would be wrong."""
    folded = fold_all(minutes, timeframe, end_ns)
    return [
        bar for bar in folded if start_ns <= bar.ts_event and bar.ts_event + timeframe.ns <= end_ns
    ]


def warmup_start(
    calendar: SessionCalendar, now: datetime, minute_days: int, daily_bars: int
) -> dict[Timeframe, int]:
    """Where the warm-up history begins: the open of the session `minute_days` sessions ago, and
    midnight of the one `daily_bars` sessions ago; a timeframe of which none is wanted is absent."""
    starts: dict[Timeframe, int] = {}
    past = calendar.sessions_between(calendar.sessions[0].date, now.date())
    past = tuple(session for session in past if session.open <= now)
    if minute_days and past:
        starts[Timeframe.MINUTE] = to_ns(past[max(0, len(past) - 1 - minute_days)].open)
    if daily_bars and past:
        starts[Timeframe.DAY] = day_start_ns(past[max(0, len(past) - 1 - daily_bars)])
    return starts


def day_start_ns(session: Session) -> int:
    """Midnight in New York of the session's date, which is how its daily bar is stamped."""
    midnight = datetime.combine(session.date, datetime.min.time(), NEW_YORK)
    return to_ns(midnight)


def last_closed(calendar: SessionCalendar, now: datetime) -> Session | None:
    """The newest session that has closed by `now`."""
    near = calendar.sessions_between((now - timedelta(days=14)).date(), now.date())
    closed = [session for session in near if session.close <= now]
    return closed[-1] if closed else None
