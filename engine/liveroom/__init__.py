"""Real-time interaction engine for live-commerce rooms."""
