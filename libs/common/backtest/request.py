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
            return msgspec.json.decode(data, type=Request)
        return msgspec.convert(data, Request)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise SpecError(f"request: {error}") from error
