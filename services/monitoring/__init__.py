"""Health of all services, alerts, notification."""
