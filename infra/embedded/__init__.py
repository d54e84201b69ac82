"""The embedded runtime: PostgreSQL, a Redis-protocol server, all services and the gateway."""
