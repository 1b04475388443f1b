"""Python client for live rooms."""
