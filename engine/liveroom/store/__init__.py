"""The room store: one port, one script, on Redis."""
