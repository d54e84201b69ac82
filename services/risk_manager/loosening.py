"""What loosens a safeguard, and so needs a second person: pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from libs.common.domain.vocabulary import TradingState
from services.risk_manager.limits import DEFINITIONS, LimitKey, is_sizing

_STRICTNESS: Final = {
    TradingState.ACTIVE: 0,
    TradingState.REDUCING: 1,
    TradingState.HALTED: 2,
}


def loosens_limit(key: LimitKey, old: Decimal | None, new: Decimal | None) -> bool:
    """Tell whether setting `key` from `old` to `new` allows what was not allowed before.

    None is no limit: to set one where there was none tightens, to remove one loosens. A sizing
    figure is a choice within the limits, and no limit. `notional_max` 100 -> 200 loosens,
    `notional_min` 100 -> 200 tightens.
    """
    if old is None or is_sizing(key.name):
        return False
    if new is None:
        return True
    return new > old if DEFINITIONS[key.name].smaller_is_tighter else new < old


def loosens_state(old: TradingState, new: TradingState) -> bool:
    """Tell whether the kill switch lets more through in `new` than in `old`."""
    return _STRICTNESS[new] < _STRICTNESS[old]
