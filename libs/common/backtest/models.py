"""From the words of a spec to the kernel's models and sizing, unknown words refused."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args, get_type_hints

import msgspec

from libs.common.backtest.errors import SpecError
from libs.common.backtest.spec import BacktestSpec, Choice
from libs.common.domain.timeframes import Timeframe
from libs.common.quant.simulation.models import MarketFill, Models, SlippageMethod
from libs.common.quant.simulation.sleeves import Method, Sizing

T = TypeVar("T")
TRADING_DAYS: Final = 252.0
_SESSION_NS: Final = 6.5 * 3600e9


def models_of(spec: BacktestSpec, *, closes_only: bool) -> Models:
    """Return the models that the spec chooses.

    Defaults: a market order fills at the next open, or, where there are closes only, at the next
    close; a year has 252 days of 6.5 hours. Raises SpecError for an unknown word, a figure out of
    range, or a model that needs what the data lack.
    """
    given = dict(spec.models)
    if "cash" in given:
        raise SpecError("models.cash: the spec has a field of its own for it, `cash`")
    given["cash"] = spec.cash
    given.setdefault("periods", periods_of(spec.timeframe))
    if closes_only:
        fill = dict(_mapping(given.get("fill", {}), "models.fill"))
        fill.setdefault("market", MarketFill.NEXT_CLOSE.value)
        given["fill"] = fill
    models = _built(Models, given, "models")
    if closes_only:
        _refuse_what_needs_volume(models)
    return models


def models_from(given: Mapping[str, Any]) -> Models:
    """Return the models of nested words. Raises SpecError."""
    return _built(Models, dict(given), "models")


def periods_of(timeframe: Timeframe) -> float:
    """Return the bars in a year of 252 days of 6.5 trading hours."""
    if timeframe is Timeframe.DAY:
        return TRADING_DAYS
    return TRADING_DAYS * _SESSION_NS / timeframe.ns


def sizing_of(choice: Choice, *, whole: bool) -> Sizing:
    """Return how targets become quantities.

    Default: a share of equity. Where each symbol decides for itself they share alike: target 1 is
    1/n of the equity for n symbols. Where one decision covers all (`whole`), target 1 is all of it.
    Raises SpecError.
    """
    given = dict(choice.sizing)
    method = given.setdefault("method", Method.PERCENT_OF_EQUITY.value)
    if method == Method.PERCENT_OF_EQUITY.value:
        given.setdefault("figure", 1.0 if whole else 1.0 / len(choice.symbols))
    return _built(Sizing, given, f"{choice.title}: sizing")


def _built(kind: type[T], given: Mapping[str, Any], path: str) -> T:
    _check_words(kind, given, path)
    try:
        return msgspec.convert(given, kind)
    except (msgspec.ValidationError, ValueError) as error:
        raise SpecError(f"{path}: {error}") from error


def _check_words(kind: type, given: Mapping[str, Any], path: str) -> None:
    fields = [field.name for field in dataclasses.fields(kind)]
    hints = get_type_hints(kind)
    for name, value in given.items():
        if name not in fields:
            raise _unknown(f"{path}: unknown word", name, fields)
        for inner in (hints[name], *get_args(hints[name])):
            if not isinstance(inner, type):
                continue
            if issubclass(inner, StrEnum) and value not in list(inner):
                raise _unknown(f"{path}.{name}:", value, [each.value for each in inner])
            if dataclasses.is_dataclass(inner):
                _check_words(inner, _mapping(value, f"{path}.{name}"), f"{path}.{name}")


def _unknown(what: str, given: object, known: Sequence[str]) -> SpecError:
    near = difflib.get_close_matches(str(given), known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
    return SpecError(f"{what} {given!r}; {hint}")


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise SpecError(f"{path}: expected words and figures, got {value!r}")


def _refuse_what_needs_volume(models: Models) -> None:
    if models.fill.volume_share is not None:
        raise SpecError("models.fill.volume_share: the data have closes only, no volume")
    if models.slippage.method is SlippageMethod.IMPACT:
        raise SpecError("models.slippage: impact needs volume, the data have closes only")
    if models.fill.market is MarketFill.NEXT_OPEN:
        raise SpecError("models.fill.market: next_open needs opens, the data have closes only")
