"""What a strategy is: parameters, state, a compiled step; how it is loaded and kept."""

from libs.common.strategy.cross_runner import CrossRunner
from libs.common.strategy.definition import (
    CrossDefinition,
    Definition,
    Kind,
    SingleDefinition,
)
from libs.common.strategy.interface import CrossStrategy, Strategy
from libs.common.strategy.kinds import runner_of, runners_of
from libs.common.strategy.parameters import integer, number
from libs.common.strategy.protocol import Stated, Stepper
from libs.common.strategy.python import PythonStrategy
from libs.common.strategy.python_runner import PythonRunner
from libs.common.strategy.runner import Runner

__all__ = [
    "CrossDefinition",
    "CrossRunner",
    "CrossStrategy",
    "Definition",
    "Kind",
    "PythonRunner",
    "PythonStrategy",
    "Runner",
    "SingleDefinition",
    "Stated",
    "Stepper",
    "Strategy",
    "integer",
    "number",
    "runner_of",
    "runners_of",
]
