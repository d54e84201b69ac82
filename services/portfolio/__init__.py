"""Marks, account values, profit and loss, snapshots."""
