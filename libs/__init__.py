"""Libraries shared by all services."""
