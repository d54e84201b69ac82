"""Alpaca's REST paths and streams, translated to and from the engine."""
