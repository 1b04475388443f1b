"""Fixtures of the tests in a real browser."""

from __future__ import annotations

from e2e.browser import browser, open_page, open_tab, serve


__all__ = ["browser", "open_page", "open_tab", "serve"]
