"""The services; each may import libs, none another."""
