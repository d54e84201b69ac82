"""The outside world of the data collector, one file a provider."""
