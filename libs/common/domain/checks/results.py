"""The outcome of one check, and the words that make one."""

from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from libs.common.kernel.money import plain

Figure = Decimal | int | str | None


class Check(NamedTuple):
    """What one check measured against what. `passed` is None where it could not be evaluated
    or does not apply; `note` says why, or why a breached limit let the order through."""

    code: str
    passed: bool | None
    value: Figure = None
    limit: Figure = None
    note: str = ""


REDUCING = "reduces the position"
NOT_INCREASED = "not increased by this order"
NO_PRICE = "no price"
NO_LIMIT = "no limit set"


def at_most(code: str, value: Decimal, limit: Decimal | None, *, exempt: str = "") -> Check:
    """`value <= limit`; a breach passes where `exempt` gives the reason."""
    if limit is None:
        return Check(code, None, value, None, NO_LIMIT)
    if value <= limit:
        return Check(code, True, value, limit)
    return Check(code, bool(exempt), value, limit, exempt)


def unknown(code: str, why: str, limit: Figure = None) -> Check:
    """The check could not be evaluated."""
    return Check(code, None, None, limit, why)


# The same limits and figures come again and again, and a judgement writes some thirty of each.
_PLAIN: Final = lru_cache(maxsize=4096)(plain)


def text(figure: Figure) -> str:
    """A figure as it is shown and stored; decimals in plain notation, nothing as ''."""
    if isinstance(figure, Decimal):
        return _PLAIN(figure)
    return "" if figure is None else str(figure)
