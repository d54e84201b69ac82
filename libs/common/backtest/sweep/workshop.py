"""One trial after the other on the same market: what they share is made once."""

from __future__ import annotations

import base64
import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from libs.common.backtest.data import History
from libs.common.backtest.decide import chosen_of, decide, run_bars
from libs.common.backtest.errors import SpecError
from libs.common.backtest.models import models_of
from libs.common.backtest.run import execute_on, market_of
from libs.common.backtest.spec import BacktestSpec
from libs.common.quant.metrics import compute_metrics, daily, simple_returns
from libs.common.strategy.definition import Kind
from libs.common.strategy.errors import InvalidParamsError
from libs.common.strategy.fusion import NAME as FUSION
from libs.common.strategy.parameters import Value
from libs.common.strategy.registry import Registry


@dataclass(frozen=True, slots=True)
class Trial:
    """One point and what came of it: metrics by name, None for what is undefined; or why nothing
    came of it. `skipped`: the strategy does not allow these parameters together. `returns`: of each
    day, packed; empty where they are not kept."""

    params: Mapping[str, Value]
    metrics: Mapping[str, float | None]
    equity_last: float | None = None
    error: str = ""
    skipped: bool = False
    returns: str = ""

    def figure(self, metric: str) -> float:
        """Return a metric, -inf where there is none."""
        value = self.metrics.get(metric)
        return -math.inf if value is None or math.isnan(value) else value

    def key(self) -> str:
        """Return what tells its parameters from others."""
        return key_of(self.params)


def key_of(params: Mapping[str, Value]) -> str:
    """Return a text that is the same for the same parameters."""
    return ",".join(f"{name}={params[name]!r}" for name in sorted(params))


def packed(returns: np.ndarray) -> str:
    """Return returns (m,) as text, in single precision."""
    return base64.b64encode(returns.astype("<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """Return the returns (m,) that `packed` made a text of."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


class Workshop:
    """Runs trials of a spec on one history. Safe to share between threads: it never changes.

    `returns`: its trials tell the returns of each day, too.
    """

    def __init__(
        self, spec: BacktestSpec, history: History, registry: Registry, *, returns: bool = False
    ) -> None:
        self.returns = returns
        self.spec = spec
        self.history = history
        self.registry = registry
        self._models = models_of(spec, closes_only=history.closes_only)
        traded = [s for choice in spec.strategies for s in choice.symbols]
        bars = run_bars(history, spec.start_ns)
        self._market = market_of(spec, history, {s: bars[s] for s in dict.fromkeys(traded)})

    @property
    def compiled(self) -> bool:
        """Tell whether all strategies are machine code, which threads can run side by side."""
        names = (choice.class_name for choice in self.spec.strategies)
        return all(self.registry.get(n).definition.kind is not Kind.PYTHON for n in names)

    def spec_with(self, params: Mapping[str, Value]) -> BacktestSpec:
        """Return the spec with these parameters. Where there are several strategies a name says
        whose it is, as `sma_cross.fast`. Raises SpecError."""
        titles = [choice.title for choice in self.spec.strategies]
        given: dict[str, dict[str, Value]] = {title: {} for title in titles}
        for name, value in params.items():
            # A fusion's own parameters have dots, too: sma_cross.weight.
            owner = max((t for t in titles if name.startswith(f"{t}.")), key=len, default="")
            if owner:
                given[owner][name.removeprefix(f"{owner}.")] = value
            elif len(titles) == 1 and (
                "." not in name or self.spec.strategies[0].class_name == FUSION
            ):
                given[titles[0]][name] = value
            else:
                raise SpecError(
                    f"{name}: name the strategy as well, like "
                    f"{titles[0]}.{name.rpartition('.')[2]}; there are {', '.join(titles)}"
                )
        strategies = tuple(
            msgspec.structs.replace(choice, params={**choice.params, **given[choice.title]})
            for choice in self.spec.strategies
        )
        return msgspec.structs.replace(self.spec, strategies=strategies)

    def check(self, params: Mapping[str, Value]) -> str:
        """Return what the strategies have against these parameters, empty if nothing."""
        try:
            for choice in self.spec_with(params).strategies:
                self.registry.get(choice.class_name).definition.parse(choice.params)
        except InvalidParamsError as error:
            return str(error)
        return ""

    def trial(self, params: Mapping[str, Value]) -> Trial:
        """Run one trial. What a strategy does wrong is told in the trial."""
        if complaint := self.check(params):
            return Trial(params, {}, error=complaint, skipped=True)
        try:
            equity, metrics, returns = self._run(params)
        except Exception as error:  # noqa: BLE001 - a trial's edge: somebody's code, the others go on
            return Trial(params, {}, error=f"{type(error).__name__}: {error}")
        return Trial(params, metrics, equity, returns=returns)

    def trials(self, points: Sequence[Mapping[str, Value]]) -> list[Trial]:
        """Run several trials, one after the other."""
        return [self.trial(params) for params in points]

    def _run(self, params: Mapping[str, Value]) -> tuple[float, dict[str, Any], str]:
        spec = self.spec_with(params)
        sleeves = [
            decide(
                chosen_of(spec, choice, self.registry.get(choice.class_name)),
                self.history,
                spec.start_ns,
            )
            for choice in spec.strategies
        ]
        outcome = execute_on(self._market, sleeves, self._models, self.history)
        fills = outcome.fills
        metrics = compute_metrics(
            outcome.ts,
            outcome.equity,
            pnl=outcome.trades["profit"],
            traded=fills["quantity"] * fills["price"],
            exposure=outcome.exposure_long + outcome.exposure_short,
        )
        days = daily(outcome.ts, outcome.equity).equity if self.returns else None
        returns = "" if days is None else packed(simple_returns(days))
        return float(outcome.equity[-1]), metrics.to_json(), returns

    def telling_returns(self, returns: bool) -> Workshop:
        """Return a workshop of the same whose trials tell their returns, or do not."""
        other = copy.copy(self)
        other.returns = returns
        return other
