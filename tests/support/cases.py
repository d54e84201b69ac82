"""A case that every check passes, to be spoilt one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from libs.common.domain.checks import (
    Case,
    Check,
    Flow,
    Limits,
    Mark,
    OrderFacts,
    SymbolExposure,
    Totals,
    judge,
)
from libs.common.domain.instruments import Instrument
from libs.common.domain.vocabulary import SessionState, Side, TradingState

APPLE = Instrument("AAPL", sector="technology", shortable=True)
MARK = Mark(bid=Decimal("99.99"), ask=Decimal("100.01"), price=Decimal(100), age_s=Decimal(1))
BUY = OrderFacts("AAPL", Side.BUY, Decimal(10), strategy_id="sma")
SELL = replace(BUY, side=Side.SELL)
HOLDING = SymbolExposure(position=Decimal(100))
TOTALS = Totals(equity=Decimal(100_000), loss_today=Decimal(0), drawdown=Decimal(0))
FACTS: dict[str, Any] = {
    "order": BUY,
    "state": TradingState.ACTIVE,
    "instrument": APPLE,
    "session": SessionState.REGULAR,
    "mark": MARK,
    "exposure": SymbolExposure(),
    "totals": TOTALS,
    "flow": Flow(),
    "limits": Limits(),
    "time_of_day": None,
    "improves": False,
}


def case(**facts: Any) -> Case:
    """The good case with other facts. What is not a fact of a Case is one of its order, limits,
    totals or flow, whichever has that name."""
    chosen = dict(FACTS)
    chosen.update({name: value for name, value in facts.items() if name in FACTS})
    for part in ("order", "limits", "totals", "flow"):
        own = {
            name: value
            for name, value in facts.items()
            if name not in FACTS and name in type(chosen[part]).__dataclass_fields__
        }
        if own:
            chosen[part] = replace(chosen[part], **own)
    return Case(**chosen)


def outcome(code: str, **facts: Any) -> Check:
    """The check called `code` on a case with those facts."""
    (found,) = [check for check in judge(case(**facts)) if check.code == code]
    return found


def passed(code: str, **facts: Any) -> bool | None:
    """Whether that check passes; None where it does not apply."""
    return outcome(code, **facts).passed
