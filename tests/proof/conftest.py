"""Fixtures of the proof: whatever is logged as an error fails the test."""

from __future__ import annotations

import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog


@pytest.fixture(autouse=True)
def errors() -> Iterator[list[MutableMapping[str, Any]]]:
    """What the engine has logged as an error; there must be nothing in the end."""
    before, found = structlog.get_config(), list[MutableMapping[str, Any]]()

    def keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> Any:
        found.append(event)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.format_exc_info, keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
    )
    yield found
    structlog.configure(**before)
    assert not found
