"""Backtests: what is asked for, the data, the run, the result. Files yes, network and SQL no."""
