"""Tear sheets of the built-in strategies: made, not written."""
