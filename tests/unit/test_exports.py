"""The public API is what it says it is, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import liveroom


def test_exports_every_public_name_can_be_imported() -> None:
    """Each name of `__all__` resolves, and `__all__` is exactly the table of homes."""
    assert sorted(liveroom._HOME_OF) == sorted(liveroom.__all__)
    for name in liveroom.__all__:
        assert getattr(liveroom, name) is not None


def test_exports_unknown_name_is_refused() -> None:
    """A misspelt name is an AttributeError, as in any module."""
    assert not hasattr(liveroom, "Plugn")


def test_exports_the_wire_loads_neither_server_nor_redis() -> None:
    """A client that imports the wire does not pay for the engine."""
    code = (
        "import sys, liveroom.protocol.frame_reader, liveroom.protocol.codec\n"
        "heavy = {'redis', 'aiohttp', 'liveroom.hub', 'liveroom.store'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
