"""`make compose-check`: build the Compose stack, see it trade, break it, take it down."""
