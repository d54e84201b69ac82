"""Figures of health, alerts and deliveries."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

HEALTH = Gauge("monitoring_service_state", "0 ok, 1 degraded, 2 stale, 3 down", ["service"])
HEARTBEAT_AGE = Gauge("monitoring_heartbeat_age_seconds", "Since the last heartbeat", ["service"])
CHANGES = Counter("monitoring_health_changes_total", "Changes of a service's state", ["service"])
ALERTS = Counter("monitoring_alerts_total", "Occurrences that became or joined alerts", ["level"])
OPEN_ALERTS = Gauge("monitoring_open_alerts", "Alerts not resolved", ["level"])
REPEATS = Counter("monitoring_repeated_messages_total", "Messages that had been counted already")
DELIVERIES = Counter(
    "monitoring_deliveries_total", "Notifications by how they ended", ["channel", "outcome"]
)
QUEUE = Gauge("monitoring_delivery_queue", "Notifications waiting to be delivered")
DEAD = Counter("monitoring_dead_letters_total", "Dead letters seen", ["stream"])
