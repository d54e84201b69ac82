"""Rules that set the kill switch by themselves: rejects, stale data, books that differ.

Loss and drawdown are watched in `upkeep`. No rule ever makes the state freer, and what a person
has resumed is only set again by what has happened since: rejects count from the resume on, and
stale data and a mismatch act once for as long as they last.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Final

from libs.common.domain.vocabulary import SessionState, TradingState
from libs.common.kernel.errors import ConflictError
from libs.common.runtime.logging import get_logger
from services.risk_manager.conduct import Conduct, ConductBook
from services.risk_manager.controls import ensure_switch, set_state
from services.risk_manager.handlers import Office
from services.risk_manager.limits import LimitKey, Scope

_log = get_logger(__name__)

REJECTS: Final = "REJECT_RATE_ABOVE_LIMIT"
STALE: Final = "DATA_STALE"
MISMATCH: Final = "BOOKS_DIFFER"
_RANK: Final = {TradingState.ACTIVE: 0, TradingState.REDUCING: 1, TradingState.HALTED: 2}
_STATES: Final = {
    REJECTS: TradingState.HALTED,
    STALE: TradingState.REDUCING,
    MISMATCH: TradingState.REDUCING,
}


class Rules:
    """Looks at the conduct and the market; remembers what it has acted on."""

    def __init__(self, office: Office, book: ConductBook) -> None:
        self._office = office
        self._book = book
        self._stale_since: float | None = None
        self._acted: set[str] = set()

    async def look(self) -> None:
        """Look once, and set the switch where a rule is broken."""
        office = self._office
        if not office.rebuilt:
            return
        now = office.clock.now()
        window = dt.timedelta(seconds=float(self._limit("reject_window_s")))
        conduct = await self._book.conduct(max(now - window, office.desk.switch.set_at))
        found = {
            REJECTS: rejects(
                conduct, self._limit("reject_share_max"), self._limit("reject_orders_min")
            ),
            MISMATCH: mismatch(
                conduct, now, self._limit("mismatch_s_max"), office.desk.switch.set_at
            ),
            STALE: self._stale(),
        }
        for rule, text in found.items():
            if text is None:
                self._acted.discard(rule)
            elif rule not in self._acted:
                await self._act(rule, text)

    async def _act(self, rule: str, text: str) -> None:
        office, state = self._office, _STATES[rule]
        if _RANK[office.desk.switch.state] < _RANK[state]:
            try:
                await set_state(office, state, reason=text, actor=f"rule:{rule}", code=rule)
            except ConflictError:
                # Somebody else was first; look again at what he has set.
                await ensure_switch(office)
                return
        self._acted.add(rule)
        _log.warning("rule_broken", rule=rule, why=text)

    def _stale(self) -> str | None:
        """Return what to say where too many symbols have had no fresh price for too long."""
        office = self._office
        now = office.market.moment()
        symbols = sorted({*office.settings.symbols, *office.desk.book.positions()})
        stale = []
        if now.session is SessionState.REGULAR:
            for symbol in symbols:
                mark = office.desk.book.mark(symbol, now.market_ns, now.factor)
                limit = office.desk.limits_for(None, symbol).price_age_s_max
                if mark is None or mark.age_s > limit:
                    stale.append(symbol)
        share_max = self._limit("stale_share_max")
        if not symbols or Decimal(len(stale)) / len(symbols) <= share_max:
            self._stale_since = None
            return None
        if self._stale_since is None:
            self._stale_since = now.wall
        lasted = now.wall - self._stale_since
        if lasted < float(self._limit("stale_s_max")):
            return None
        named = ", ".join(stale[:5])
        return f"{len(stale)} of {len(symbols)} symbols without a fresh price ({named})"

    def _limit(self, name: str) -> Decimal:
        return self._office.desk.limits.values[LimitKey(Scope.ACCOUNT, "", name)]


def rejects(conduct: Conduct, share_max: Decimal, orders_min: Decimal) -> str | None:
    """Return what to say where the venue rejects too large a share of the orders.

    12 of 20 sent at a limit of 0.5 is too many; 3 of 4 is too few to tell with a minimum of 20.
    """
    if conduct.sent < orders_min or conduct.rejected <= share_max * conduct.sent:
        return None
    return f"{conduct.rejected} of {conduct.sent} orders rejected, limit {share_max:f} of them"


def mismatch(
    conduct: Conduct, now: dt.datetime, age_s_max: Decimal, set_at: dt.datetime
) -> str | None:
    """Return what to say where our books have differed from the broker's for too long, and that
    was not so already when the switch was last `set_at`: who resumed then knew of it."""
    if conduct.mismatch_since is None:
        return None
    due = conduct.mismatch_since + dt.timedelta(seconds=float(age_s_max))
    if not set_at < due < now:
        return None
    return f"our books differ from the broker's since {conduct.mismatch_since.isoformat()}"
