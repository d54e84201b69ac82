"""Backtests on request: a bounded queue, one child process a run, results kept."""
