"""Reports of backtests: HTML that opens offline, JSON, several runs side by side."""

from libs.common.backtest.report.compare import comparison_json, render_comparison
from libs.common.backtest.report.report_input import ReportInput
from libs.common.backtest.report.tear_sheet import render_html, report_json

__all__ = [
    "ReportInput",
    "comparison_json",
    "render_comparison",
    "render_html",
    "report_json",
]
