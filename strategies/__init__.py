"""Strategies: the built-in ones, and yours beside them."""
