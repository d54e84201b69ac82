"""What a run of any kind is asked to do: the body of a submission, the input of its process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from libs.common.backtest.errors import SpecError
from libs.common.backtest.spec import BacktestSpec
from libs.common.backtest.sweep.plan import Plan

Kind = Literal["backtest", "sweep"]


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: its kind and the spec it works on; a sweep has a `plan`. `report`: write HTML too."""

    kind: Kind = "backtest"
    spec: BacktestSpec
    plan: Plan | None = None
    report: bool = True

    def __post_init__(self) -> None:
        if (self.kind == "sweep") != (self.plan is not None):
            raise ValueError("a plan goes with kind sweep, and only with it")

    def to_json(self) -> dict[str, Any]:
        """Return the request as JSON data."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data


def request_of(data: Mapping[str, Any] | bytes) -> Request:
    """Return the checked request. Raises SpecError that names the field."""
    try:
        if isinstance(data, bytes):
            request = msgspec.json.decode(data, type=Request)
        else:
            request = msgspec.convert(data, Request)
        if _holds_nul(request.to_json()):
            raise SpecError("request: a text holds a NUL, which no table takes")
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise SpecError(f"request: {error}") from error
    except RecursionError as error:
        raise SpecError("request: nested too deeply") from error
    return request


def _holds_nul(value: Any) -> bool:
    """Tell whether a text of JSON data holds a NUL."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(map(_holds_nul, (*value, *value.values())))
    return isinstance(value, list | tuple) and any(map(_holds_nul, value))
