"""Money, ids, clock, errors: stdlib only."""
