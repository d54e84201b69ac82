"""Runs strategies on closed bars and emits their signals."""
