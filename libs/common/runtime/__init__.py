"""The only I/O in libs: app factory, bus, outbox, database, settings, logging."""
