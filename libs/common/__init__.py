"""What every Tradewind service has in common; see the import order in docs/architecture.md."""
