"""Against self-deception: what a backtest proves, and what it does not.

Chance comes in as a seeded `numpy.random.Generator`; nothing here draws from a global one.
"""

from libs.common.quant.validation.bootstrap import stationary_indices
from libs.common.quant.validation.comparison import Comparison, sharpe_difference
from libs.common.quant.validation.crises import CRISES, Crisis, Stressed, stressed
from libs.common.quant.validation.monte_carlo import (
    Outcomes,
    drawn_trades,
    resampled_paths,
    shuffled_trades,
)
from libs.common.quant.validation.overfitting import Overfitting, overfitting
from libs.common.quant.validation.permutation import (
    Significance,
    permuted_bars,
    rule_significance,
    timing_significance,
)
from libs.common.quant.validation.sharpe import (
    deflated_sharpe,
    expected_best_sharpe,
    probabilistic_sharpe,
    track_record_length,
)
from libs.common.quant.validation.splits import (
    Combination,
    Split,
    combinatorial_folds,
    combinatorial_paths,
    purged_folds,
    walk_forward,
)

__all__ = [
    "CRISES",
    "Combination",
    "Comparison",
    "Crisis",
    "Outcomes",
    "Overfitting",
    "Significance",
    "Split",
    "Stressed",
    "combinatorial_folds",
    "combinatorial_paths",
    "deflated_sharpe",
    "drawn_trades",
    "expected_best_sharpe",
    "overfitting",
    "permuted_bars",
    "probabilistic_sharpe",
    "purged_folds",
    "resampled_paths",
    "rule_significance",
    "sharpe_difference",
    "shuffled_trades",
    "stationary_indices",
    "stressed",
    "timing_significance",
    "track_record_length",
    "walk_forward",
]
