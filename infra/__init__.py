"""What runs the system: embedded runtime, routes, compose checks, decisions."""
