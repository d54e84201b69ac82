"""Checks of the stream of orders: how many, the same again, and against ourselves."""

from typing import Final

from libs.common.domain.checks.inputs import Case
from libs.common.domain.checks.results import REDUCING, Check


def strategy_rate(case: Case) -> Check:
    """The strategy is not in a loop: orders in the window, this one included."""
    if case.order.strategy_id is None:
        return Check("ORDER_RATE_STRATEGY", None, None, None, "not a strategy's order")
    limit = case.limits.orders_per_window_strategy
    return _rate("ORDER_RATE_STRATEGY", case.flow.orders_strategy + 1, limit, case.reducing)


def account_rate(case: Case) -> Check:
    """The account is not in a loop: orders in the window, this one included."""
    limit = case.limits.orders_per_window_account
    return _rate("ORDER_RATE_ACCOUNT", case.flow.orders_account + 1, limit, case.reducing)


def _rate(code: str, value: int, limit: int, reducing: bool) -> Check:
    if value <= limit:
        return Check(code, True, value, limit)
    return Check(code, reducing, value, limit, REDUCING if reducing else "")


def duplicate(case: Case) -> Check:
    """The very same order was not approved a moment ago."""
    same = case.flow.duplicate_of
    window = case.limits.duplicate_window_s
    return Check("DUPLICATE_ORDER", same is None, same or "none", window, "seconds" if same else "")


def self_crossing(case: Case) -> Check:
    """No open order of ours stands on the other side at a price that would meet this one."""
    crosses = case.flow.crosses
    return Check("SELF_CROSSING", crosses is None, crosses or "none", "none")


CHECKS: Final = (strategy_rate, account_rate, duplicate, self_crossing)
