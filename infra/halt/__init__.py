"""Stopping trade without any service: `tradewind halt --direct`."""
