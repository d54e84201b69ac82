"""The exchange and the broker's books as a pure state machine: time comes with each event."""
