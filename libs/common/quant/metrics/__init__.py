"""Measures of what a strategy earned and risked: pure functions of arrays, NaN where undefined."""

from libs.common.quant.metrics.catalogue import CATALOGUE
from libs.common.quant.metrics.days import Daily, daily, monthly_returns, periods_per_year
from libs.common.quant.metrics.growth import simple_returns
from libs.common.quant.metrics.summary import Metrics, compute_metrics

__all__ = [
    "CATALOGUE",
    "Daily",
    "Metrics",
    "compute_metrics",
    "daily",
    "monthly_returns",
    "periods_per_year",
    "simple_returns",
]
