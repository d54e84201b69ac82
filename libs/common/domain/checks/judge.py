"""The judgement: every check, always all of them, and the first that says no."""

from collections.abc import Sequence
from typing import Final

from libs.common.domain.checks import account, flow, order
from libs.common.domain.checks.inputs import Case
from libs.common.domain.checks.results import Check, text
from libs.common.kernel.errors import Refusal

ALL: Final = (*order.CHECKS, *flow.CHECKS, *account.CHECKS)

# The stable codes, in the order of ALL; part of the contract.
CODES: Final = (
    "TRADING_STATE",
    "INSTRUMENT_UNKNOWN",
    "INSTRUMENT_NOT_TRADABLE",
    "INSTRUMENT_RESTRICTED",
    "SESSION_CLOSED",
    "PRICE_MISSING",
    "PRICE_STALE",
    "PRICE_OFF_TICK",
    "QUANTITY_OFF_LOT",
    "QUANTITY_ABOVE_LIMIT",
    "NOTIONAL_BELOW_LIMIT",
    "NOTIONAL_ABOVE_LIMIT",
    "PRICE_OUTSIDE_COLLAR",
    "QUANTITY_OUTSIDE_COLLAR",
    "EXIT_LEGS_CROSSED",
    "FRACTION_UNSUPPORTED",
    "EXIT_WITHOUT_POSITION",
    "ORDER_RATE_STRATEGY",
    "ORDER_RATE_ACCOUNT",
    "DUPLICATE_ORDER",
    "SELF_CROSSING",
    "POSITION_UNPRICED",
    "BUYING_POWER_EXCEEDED",
    "POSITION_ABOVE_LIMIT",
    "SECTOR_ABOVE_LIMIT",
    "GROSS_LEVERAGE_ABOVE_LIMIT",
    "NET_LEVERAGE_ABOVE_LIMIT",
    "NOT_SHORTABLE",
    "DAILY_LOSS_ABOVE_LIMIT",
    "DRAWDOWN_ABOVE_LIMIT",
)


def judge(case: Case) -> tuple[Check, ...]:
    """Every check of `case` in the fixed order; a denial does not stop the rest."""
    return tuple([check(case) for check in ALL])


def first_denial(checks: Sequence[Check]) -> Refusal | None:
    """The refusal that the first failed check stands for, or None: approved."""
    for check in checks:
        if check.passed is False:
            context = {"value": text(check.value), "limit": text(check.limit)}
            if check.note:
                context["note"] = check.note
            return Refusal(check.code, context)
    return None
