"""What `tradewind new` writes: one strategy of each kind, with its test."""
