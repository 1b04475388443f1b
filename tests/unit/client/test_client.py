"""The public class: what it refuses at once, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import liveroom_client
from liveroom_client import LiveError, connect


@pytest.mark.parametrize("url", ["", "/ws", "demo", "ftp://host/ws", "ws://"])
async def test_client_refuses_what_is_no_address(url: str) -> None:
    """At once, not after the backoff."""
    with pytest.raises(ValueError, match="expected ws://"):
        connect(url, room="demo")


async def test_client_knows_no_time_before_the_greeting() -> None:
    """Rather than a wrong one."""
    live = connect("ws://127.0.0.1:1/ws", room="demo")
    with pytest.raises(LiveError):
        live.server_now()
    assert (live.state.status, live.state.greeting) == ("idle", None)
    await live.close()
    assert live.state.status == "ended"


def test_client_exports_resolve() -> None:
    """Each name of `__all__`."""
    assert all(getattr(liveroom_client, name) is not None for name in liveroom_client.__all__)


def test_client_loads_neither_server_nor_redis() -> None:
    """Who only wants to talk does not pay for the engine."""
    code = (
        "import sys, liveroom_client\n"
        "heavy = {'redis', 'liveroom.hub', 'liveroom.store', 'liveroom.node'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
