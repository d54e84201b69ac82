"""Sends approved orders, books what happens to them, and keeps our books equal to the broker's."""
