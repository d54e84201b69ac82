"""Incremental indicators: each a state record and an update function, compiled.

A state starts as zeros. An update takes the state, the new values and the parameters and returns
the indicator, or a tuple where there are several; each is NaN until it is defined. Parameters are
passed on each update so that a strategy can be given them; they must stay the same over the life
of a state, and windows within the capacity that the state was made for. A bar costs O(1), on
average over a run of bars where sums are made anew; `cci` alone costs O(window) on each.
"""

from libs.common.quant.indicators.adx import adx, adx_state
from libs.common.quant.indicators.aroon import aroon, aroon_state
from libs.common.quant.indicators.atr import atr, atr_state
from libs.common.quant.indicators.averages import (
    ema,
    ema_state,
    sma,
    sma_state,
    wilder,
    wilder_state,
)
from libs.common.quant.indicators.bands import (
    bollinger,
    bollinger_state,
    zscore,
    zscore_state,
)
from libs.common.quant.indicators.cci import cci, cci_state
from libs.common.quant.indicators.channels import (
    donchian,
    donchian_state,
    keltner,
    keltner_state,
)
from libs.common.quant.indicators.hurst import hurst, hurst_state
from libs.common.quant.indicators.kalman import (
    kalman_hedge,
    kalman_hedge_state,
    kalman_level,
    kalman_level_state,
)
from libs.common.quant.indicators.macd import macd, macd_state
from libs.common.quant.indicators.momentum import roc, roc_state
from libs.common.quant.indicators.regimes import (
    markov_regime,
    markov_regime_state,
    volatility_regime,
    volatility_regime_state,
)
from libs.common.quant.indicators.regression import (
    correlation,
    correlation_state,
    regression,
    regression_state,
)
from libs.common.quant.indicators.rsi import rsi, rsi_state
from libs.common.quant.indicators.stochastic import (
    stochastic,
    stochastic_state,
    williams_r,
    williams_r_state,
)
from libs.common.quant.indicators.stops import (
    parabolic,
    parabolic_state,
    supertrend,
    supertrend_state,
)
from libs.common.quant.indicators.volatility import (
    garman_klass,
    garman_klass_state,
    parkinson,
    parkinson_state,
    realised_volatility,
    realised_volatility_state,
    yang_zhang,
    yang_zhang_state,
)
from libs.common.quant.indicators.volume import mfi, mfi_state, obv, obv_state
from libs.common.quant.indicators.vwap import (
    rolling_vwap,
    rolling_vwap_state,
    vwap,
    vwap_state,
)
from libs.common.quant.indicators.weighted import (
    dema,
    dema_state,
    tema,
    tema_state,
    wma,
    wma_state,
)
from libs.common.quant.indicators.windows import extreme_state, rolling_max, rolling_min

__all__ = [
    "adx", "adx_state", "aroon", "aroon_state", "atr", "atr_state", "bollinger",
    "bollinger_state", "cci", "cci_state", "correlation", "correlation_state", "dema",
    "dema_state", "donchian", "donchian_state", "ema", "ema_state", "extreme_state",
    "garman_klass", "garman_klass_state", "hurst", "hurst_state", "kalman_hedge",
    "kalman_hedge_state", "kalman_level", "kalman_level_state", "keltner", "keltner_state",
    "macd", "macd_state", "markov_regime", "markov_regime_state", "mfi", "mfi_state", "obv",
    "obv_state", "parabolic", "parabolic_state", "parkinson", "parkinson_state",
    "realised_volatility", "realised_volatility_state", "regression", "regression_state", "roc",
    "roc_state", "rolling_max", "rolling_min", "rolling_vwap", "rolling_vwap_state", "rsi",
    "rsi_state", "sma", "sma_state", "stochastic", "stochastic_state", "supertrend",
    "supertrend_state", "tema", "tema_state", "volatility_regime", "volatility_regime_state",
    "vwap", "vwap_state", "wilder", "wilder_state", "williams_r", "williams_r_state", "wma",
    "wma_state", "yang_zhang", "yang_zhang_state", "zscore", "zscore_state",
]  # fmt: skip
