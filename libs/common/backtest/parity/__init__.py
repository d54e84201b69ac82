"""A recorded live session against the same session replayed: decisions, orders, fills."""
