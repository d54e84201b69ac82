"""The limits: their names, bounds and defaults, and which of them hold for an order.

Limits stand in `risk_limits` by scope (account, strategy, symbol, sector), key and name. For one
order the tightest of those that apply holds, so a limit of a narrower scope can only tighten.
Sizing figures are a choice and not a limit: there the strategy's own replaces the account's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from libs.common.domain.checks import Limits
from libs.common.domain.instruments import Instrument
from libs.common.domain.sizing import SizingMethod, SizingRule
from libs.common.kernel.errors import InvalidInputError


class Scope(StrEnum):
    """What a limit is about."""

    ACCOUNT = "account"
    STRATEGY = "strategy"
    SYMBOL = "symbol"
    SECTOR = "sector"


@dataclass(frozen=True, slots=True)
class Definition:
    """A limit by name: what it bounds, its range, its default (None: not set), and whether the
    smaller or the larger of two values is the tighter."""

    name: str
    meaning: str
    default: Decimal | None
    low: Decimal
    high: Decimal
    smaller_is_tighter: bool = True
    whole: bool = False
    scopes: frozenset[Scope] = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class LimitKey:
    """Names one limit of one account; `key` is empty for the account itself."""

    scope: Scope
    key: str
    name: str


def _money(
    name: str, meaning: str, default: str | None, *, smaller_is_tighter: bool = True
) -> Definition:
    value = None if default is None else Decimal(default)
    return Definition(name, meaning, value, Decimal(0), Decimal(10) ** 15, smaller_is_tighter)


def _share(name: str, meaning: str, default: str | None, high: int = 10) -> Definition:
    value = None if default is None else Decimal(default)
    return Definition(name, meaning, value, Decimal(0), Decimal(high))


_STRATEGY = frozenset({Scope.ACCOUNT, Scope.STRATEGY})
_ACCOUNT = frozenset({Scope.ACCOUNT})


def _count(name: str, meaning: str, default: int, scopes: frozenset[Scope]) -> Definition:
    return Definition(
        name, meaning, Decimal(default), Decimal(1), Decimal(10) ** 7, whole=True, scopes=scopes
    )


def _age(asset_class: str, default: int) -> Definition:
    meaning = f"oldest quote of {asset_class} to judge by, in seconds"
    name = f"price_age_s_max_{asset_class}"
    return Definition(name, meaning, Decimal(default), Decimal("0.1"), Decimal(86_400))


def _switch(name: str, meaning: str, default: int, *, smaller_is_tighter: bool) -> Definition:
    return Definition(
        name, meaning, Decimal(default), Decimal(0), Decimal(1), smaller_is_tighter, whole=True
    )


LIMITS: Final = (
    _money("notional_min", "least value of one order", "1", smaller_is_tighter=False),
    _money("notional_max", "greatest value of one order", "250000"),
    Definition("quantity_max", "greatest quantity of one order", Decimal(100_000), Decimal(0),
               Decimal(10) ** 11),
    _share("order_equity_share_max", "fat finger: greatest order, as a share of equity", "0.25"),
    _share("price_collar", "fat finger: how far a limit may pay beyond the quote", "0.05", 1),
    _age("us_equity", 15),
    _age("crypto", 30),
    _age("us_option", 60),
    _count("orders_per_window_strategy", "orders of one strategy in the rate window", 300,
           _STRATEGY),
    _count("orders_per_window_account", "orders of the account in the rate window", 1000, _ACCOUNT),
    Definition("rate_window_s", "length of the rate window in seconds", Decimal(60), Decimal(1),
               Decimal(86_400), smaller_is_tighter=False, scopes=_ACCOUNT),
    Definition("duplicate_window_s", "how long the same order counts as a repetition, in seconds",
               Decimal(2), Decimal(0), Decimal(86_400), smaller_is_tighter=False, scopes=_STRATEGY),
    _share("market_buffer", "what a market order may pay above the quote", "0.01", 1),
    Definition("buying_power_multiple", "buying power as a multiple of equity (1: cash account)",
               Decimal(1), Decimal(0), Decimal(10), scopes=_ACCOUNT),
    _share("position_share_max", "greatest position, as a share of equity", "0.10"),
    _share("sector_share_max", "greatest sum of a sector, as a share of equity", "0.30"),
    Definition("gross_leverage_max", "sum of all positions, as a multiple of equity", Decimal(1),
               Decimal(0), Decimal(20), scopes=_ACCOUNT),
    Definition("net_leverage_max", "long less short, as a multiple of equity", Decimal(1),
               Decimal(0), Decimal(20), scopes=_ACCOUNT),
    _switch("short_selling", "1 where short sales are allowed", 1, smaller_is_tighter=True),
    _switch("restricted", "1 puts a symbol or sector on the restricted list", 0,
            smaller_is_tighter=False),
    Definition("daily_loss_max", "greatest loss of a session, in money", None, Decimal(0),
               Decimal(10) ** 15, scopes=_ACCOUNT),
    Definition("daily_loss_share_max", "greatest loss of a session, as a share of its opening "
               "equity", Decimal("0.05"), Decimal(0), Decimal(1), scopes=_ACCOUNT),
    Definition("drawdown_max", "greatest fall from the highest equity, as a share of it",
               Decimal("0.20"), Decimal(0), Decimal(1), scopes=_ACCOUNT),
)  # fmt: skip

_SIZED = {
    SizingMethod.PERCENT_OF_EQUITY: Definition(
        "size_percent_of_equity", "position at target 1, as a share of equity", Decimal("0.04"),
        Decimal(0), Decimal(10), scopes=_STRATEGY),
    SizingMethod.FIXED_NOTIONAL: Definition(
        "size_fixed_notional", "position at target 1, in money", None, Decimal(0),
        Decimal(10) ** 15, scopes=_STRATEGY),
    SizingMethod.FIXED_QUANTITY: Definition(
        "size_fixed_quantity", "position at target 1, in units", None, Decimal(0),
        Decimal(10) ** 11, scopes=_STRATEGY),
    SizingMethod.VOLATILITY_TARGET: Definition(
        "size_volatility_target", "annual volatility of a position at target 1, on equity", None,
        Decimal(0), Decimal(10), scopes=_STRATEGY),
}  # fmt: skip
_WEIGHT_MAX = Definition(
    "size_weight_max", "greatest share of equity that a volatility target takes", Decimal("0.10"),
    Decimal(0), Decimal(10), scopes=_STRATEGY,
)  # fmt: skip

_SIZES = frozenset(definition.name for definition in _SIZED.values())

# What sets the kill switch by itself; loss and drawdown are among the limits of an order.
_RULES: Final = (
    Definition("reject_share_max", "greatest share of orders that the venue may reject in the "
               "window; more halts", Decimal("0.5"), Decimal(0), Decimal(1), scopes=_ACCOUNT),
    Definition("reject_window_s", "length of that window in seconds", Decimal(300), Decimal(1),
               Decimal(86_400), smaller_is_tighter=False, scopes=_ACCOUNT),
    _count("reject_orders_min", "orders in the window below which rejects are not judged", 20,
           _ACCOUNT),
    Definition("stale_share_max", "greatest share of symbols without a fresh price in the "
               "session; more reduces", Decimal("0.5"), Decimal(0), Decimal(1), scopes=_ACCOUNT),
    Definition("stale_s_max", "how long that may last, in wall seconds", Decimal(60), Decimal(1),
               Decimal(86_400), scopes=_ACCOUNT),
    Definition("mismatch_s_max", "how long a difference of position or cash from the broker's may "
               "stand, in seconds; longer reduces", Decimal(300), Decimal(1), Decimal(86_400),
               scopes=_ACCOUNT),
)  # fmt: skip

# The most particular first: the percentage is always there, so any other that is set wins.
_METHODS: Final = (
    SizingMethod.VOLATILITY_TARGET,
    SizingMethod.FIXED_QUANTITY,
    SizingMethod.FIXED_NOTIONAL,
    SizingMethod.PERCENT_OF_EQUITY,
)
DEFINITIONS: Final[Mapping[str, Definition]] = {
    d.name: d for d in (*LIMITS, *_SIZED.values(), _WEIGHT_MAX, *_RULES)
}
_COUNTS = frozenset({"orders_per_window_strategy", "orders_per_window_account"})
_SWITCHES = frozenset({"short_selling", "restricted"})


def validated(key: LimitKey, value: Decimal | None) -> Decimal | None:
    """`value` if it can be set under `key`, None to remove what is set. Raises InvalidInputError
    naming what is wrong; an account's limit that has a default can be changed, never removed."""
    definition = DEFINITIONS.get(key.name)
    if definition is None:
        raise InvalidInputError(f"name: no limit is called {key.name!r}")
    if key.scope not in definition.scopes:
        allowed = ", ".join(sorted(definition.scopes))
        raise InvalidInputError(f"scope: {key.name} is set for {allowed}, not {key.scope}")
    if bool(key.key) == (key.scope is Scope.ACCOUNT):
        wanted = "no key" if key.scope is Scope.ACCOUNT else f"the {key.scope}'s name"
        raise InvalidInputError(f"scope_key: scope {key.scope} takes {wanted}, got {key.key!r}")
    if value is None:
        if key.scope is Scope.ACCOUNT and definition.default is not None:
            raise InvalidInputError(f"value: {key.name} of the account can only be changed")
        return None
    if not (value.is_finite() and definition.low <= value <= definition.high):
        bounds = f"{definition.low:f} to {definition.high:f}"
        raise InvalidInputError(f"value: {key.name} lies within {bounds}, got {value}")
    if definition.whole and value != value.to_integral_value():
        raise InvalidInputError(f"value: {key.name} is a whole number, got {value}")
    if value.as_tuple().exponent < -8:  # type: ignore[operator]
        raise InvalidInputError(f"value: {key.name} has at most 8 decimal places, got {value}")
    return value


def is_sizing(name: str) -> bool:
    """Tell whether `name` is a sizing figure: a choice within the limits, and no limit."""
    return name == _WEIGHT_MAX.name or name in _SIZES


def defaults() -> dict[LimitKey, Decimal]:
    """The account's limits at first start."""
    return {
        LimitKey(Scope.ACCOUNT, "", d.name): d.default
        for d in DEFINITIONS.values()
        if d.default is not None
    }


class LimitBook:
    """All limits of one account, and the ones that hold for an order (remembered until changed)."""

    def __init__(self, values: Mapping[LimitKey, Decimal]) -> None:
        self.values = dict(values)
        self._forget()

    def change(self, key: LimitKey, value: Decimal | None) -> None:
        """Set a limit, or remove it with None."""
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        self._forget()

    def _forget(self) -> None:
        self._resolved: dict[tuple[str | None, str, str, str], Limits] = {}
        self._sized: dict[str, SizingRule] = {}
        # Most strategies have no limit of their own and share what is remembered.
        self._strategies = {k.key for k in self.values if k.scope is Scope.STRATEGY}

    def limits_for(self, strategy_id: str | None, instrument: Instrument) -> Limits:
        """The limits of an order: of each name the tightest that applies."""
        own = strategy_id if strategy_id in self._strategies else None
        where = own, instrument.symbol, instrument.sector, instrument.asset_class.value
        found = self._resolved.get(where)
        if found is None:
            found = self._resolved[where] = self._resolve(own, instrument)
        return found

    def sizing_for(self, strategy_id: str) -> SizingRule:
        """The strategy's way of sizing: what is set for itself, else for the account."""
        own = strategy_id if strategy_id in self._strategies else ""
        found = self._sized.get(own)
        if found is None:
            found = self._sized[own] = self._size(own)
        return found

    def _size(self, strategy_id: str) -> SizingRule:
        scopes = (Scope.STRATEGY, strategy_id), (Scope.ACCOUNT, "")
        weights = [self._value(scope, key, _WEIGHT_MAX.name) for scope, key in scopes]
        weight = next((w for w in weights if w is not None), Decimal("0.10"))
        for scope, key in scopes:
            for method in _METHODS:
                figure = self._value(scope, key, _SIZED[method].name)
                if figure is not None:
                    return SizingRule(method, figure, weight)
        return SizingRule(SizingMethod.PERCENT_OF_EQUITY, Decimal(0), weight)

    def _value(self, scope: Scope, key: str, name: str) -> Decimal | None:
        return self.values.get(LimitKey(scope, key, name))

    def _resolve(self, strategy_id: str | None, instrument: Instrument) -> Limits:
        scopes = [
            (Scope.ACCOUNT, ""),
            (Scope.SYMBOL, instrument.symbol),
            (Scope.SECTOR, instrument.sector),
        ]
        if strategy_id is not None:
            scopes.append((Scope.STRATEGY, strategy_id))
        resolved: dict[str, Any] = {}
        for definition in LIMITS:
            name = definition.name
            if name.startswith(_AGE):
                if name != _AGE + instrument.asset_class:
                    continue
                name = "price_age_s_max"
            value = _tightest(
                definition, (self._value(scope, key, definition.name) for scope, key in scopes)
            )
            # What has no value falls back to `Limits`' default where one is needed to judge.
            if value is not None or name not in _NEEDED:
                resolved[name] = _typed(name, value)
        return Limits(**resolved)


_AGE: Final = "price_age_s_max_"
_NEEDED: Final = frozenset(
    {"notional_min", "price_age_s_max", "rate_window_s", "duplicate_window_s", "market_buffer",
     "buying_power_multiple", *_COUNTS, *_SWITCHES}
)  # fmt: skip


def _tightest(definition: Definition, values: Iterable[Decimal | None]) -> Decimal | None:
    given = [value for value in values if value is not None]
    if not given:
        return None
    return min(given) if definition.smaller_is_tighter else max(given)


def _typed(name: str, value: Decimal | None) -> Decimal | int | bool | None:
    if value is None:
        return None
    if name in _SWITCHES:
        return bool(value)
    return int(value) if name in _COUNTS else value
