"""What `[plugin.counters]` may say."""

from __future__ import annotations

from typing import Any

import pytest

from liveroom import ConfigError
from liveroom.config import load
from liveroom_plugins.counters.options import Options


def options(**given: Any) -> Options:
    """Read them."""
    settings = {"dev": True, "plugin": {"counters": given}}
    return Options.of(load(environ={}, overrides=settings))


def test_options_have_defaults() -> None:
    """As docs/counters.md says; from the environment they come as text."""
    assert options() == Options(1.0, 10_000, 30 * 86_400_000, 86_400_000, 20_000, acts=True)
    given = options(lost_s="20", keep_days="2", late_hours=48, messages=100, acts="false")
    assert given == Options(1.0, 20_000, 172_800_000, 172_800_000, 100, acts=False)
    assert given.for_store == {
        "lost_ms": 20_000, "keep_ms": 172_800_000, "late_ms": 172_800_000, "messages": 100,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"flush_ms": 50}, "flush_ms: expected 100 to 10000 ms"),
        ({"flush_ms": "soon"}, "flush_ms"),
        ({"flush_ms": True}, "flush_ms"),
        ({"flush_ms": None}, "flush_ms"),
        ({"lost_s": 2}, "lost_s: expected 5 to 300 s"),
        ({"keep_days": 0}, "keep_days"),
        ({"keep_days": float("nan")}, "keep_days"),
        ({"keep_days": 1, "late_hours": 25}, "late_hours: expected at most keep_days"),
        ({"messages": -1}, "messages"),
        ({"acts": "maybe"}, "acts: expected true or false"),
        ({"acts": 1}, "acts"),
        ({"flush": 1}, "flush: expected flush_ms, lost_s"),
    ],
)
def test_options_that_cannot_be_are_refused(given: dict[str, Any], expected: str) -> None:
    """The sentence names the option, its range and what came."""
    with pytest.raises(ConfigError, match=expected):
        options(**given)
