"""Plugins shipped with the engine; each imports only the public `liveroom` API."""
