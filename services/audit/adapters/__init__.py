"""The outside world of audit."""
