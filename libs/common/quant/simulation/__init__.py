"""Strategies stepped over arrays of bars, in machine code."""
