"""The outside world of the backtester: child processes, the bars of the database."""
