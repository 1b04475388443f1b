"""HTTP and WebSocket fronts of a worker."""
