"""The outside world of monitoring."""
