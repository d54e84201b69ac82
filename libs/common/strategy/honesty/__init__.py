"""Strategies that know too much, and strategies that never forget: found by running them again."""

from libs.common.strategy.honesty.differences import Difference
from libs.common.strategy.honesty.lookahead import LookaheadReport, check_lookahead
from libs.common.strategy.honesty.questions import Check
from libs.common.strategy.honesty.warmup import Start, WarmupReport, check_warmup

__all__ = [
    "Check",
    "Difference",
    "LookaheadReport",
    "Start",
    "WarmupReport",
    "check_lookahead",
    "check_warmup",
]
