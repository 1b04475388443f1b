"""Measures the engine beside others, each with the same room, in one run (docs/peers.md)."""
