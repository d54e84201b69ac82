"""What a strategy is: parameters, state, a compiled step; how it is loaded and kept."""

from libs.common.strategy.definition import Definition
from libs.common.strategy.interface import Strategy
from libs.common.strategy.parameters import integer, number
from libs.common.strategy.runner import Runner

__all__ = ["Definition", "Runner", "Strategy", "integer", "number"]
