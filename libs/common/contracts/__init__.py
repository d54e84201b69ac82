"""Every message and its channel, one registry."""
