"""From a definition of any kind to what runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from libs.common.domain.timeframes import Timeframe
from libs.common.kernel.errors import InvalidInputError
from libs.common.strategy.cross_runner import CrossRunner
from libs.common.strategy.definition import CrossDefinition, Definition
from libs.common.strategy.fusion import FusionDefinition
from libs.common.strategy.fusion_runner import FusionRunner
from libs.common.strategy.protocol import Stepper
from libs.common.strategy.python import PythonDefinition
from libs.common.strategy.python_runner import PythonRunner
from libs.common.strategy.runner import Runner


def runner_of(
    definition: Definition,
    params: Mapping[str, object],
    symbols: Sequence[str],
    timeframe: Timeframe | None = None,
) -> Stepper:
    """Return the strategy with these parameters on these symbols, its memory blank.

    `timeframe` is that of the bars; only a strategy that reads longer ones must be told. Raises
    InvalidParamsError, and InvalidInputError for symbols that this kind cannot take: a strategy on
    one symbol takes one (see `runners_of`).
    """
    if isinstance(definition, CrossDefinition):
        return CrossRunner(definition, params, symbols)
    if len(symbols) != 1:
        raise InvalidInputError(f"{definition.name} takes one symbol, got {len(symbols)}")
    if isinstance(definition, PythonDefinition):
        return PythonRunner(definition, params, symbols[0])
    if isinstance(definition, FusionDefinition):
        return FusionRunner(definition, params, symbols[0], timeframe)
    return Runner(definition, params, symbols[0], timeframe)


def runners_of(
    definition: Definition,
    params: Mapping[str, object],
    symbols: Sequence[str],
    timeframe: Timeframe | None = None,
) -> tuple[Stepper, ...]:
    """Return all that it takes to run a strategy on these symbols: one for the universe, or one a
    symbol. Raises as `runner_of`."""
    if isinstance(definition, CrossDefinition):
        return (runner_of(definition, params, symbols, timeframe),)
    return tuple(runner_of(definition, params, (symbol,), timeframe) for symbol in symbols)
