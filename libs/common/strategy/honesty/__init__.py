"""Strategies that know too much, and strategies that never forget: found by running them again."""

from libs.common.strategy.honesty.differences import Difference
from libs.common.strategy.honesty.entry import EntryReport, check_entry
from libs.common.strategy.honesty.lookahead import LookaheadReport, check_lookahead
from libs.common.strategy.honesty.questions import Check
from libs.common.strategy.honesty.warmup import Start, WarmupReport, check_warmup

__all__ = [
    "Check",
    "Difference",
    "EntryReport",
    "LookaheadReport",
    "Start",
    "WarmupReport",
    "check_entry",
    "check_lookahead",
    "check_warmup",
]
