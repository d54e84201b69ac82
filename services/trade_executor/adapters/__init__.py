"""The venues."""
