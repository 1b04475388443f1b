"""The unit without an init: systemd's own judgement of it, and its command run to its end."""

from __future__ import annotations

import asyncio
import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

import harness
from deployed import DEPLOY, Ground
from liveroom.config import Settings


UNIT = DEPLOY / "systemd" / "liveroom.service"
INSTALLED = "/opt/liveroom/bin/liveroom"
MOST_EXPOSED = 25
"""Of 100, as `systemd-analyze security` counts what a service is not kept from."""


def unit() -> configparser.ConfigParser:
    made = configparser.ConfigParser(interpolation=None, strict=False)
    made.optionxform = str  # type: ignore[assignment,method-assign]  # as the module documents it
    made.read_string(UNIT.read_text())
    return made


def analyze(*args: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze. Skips where it is not."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze on PATH")
    return subprocess.run(
        [program, *args], check=False, capture_output=True, text=True, timeout=20
    )  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The unit with the program of this environment."""
    text = UNIT.read_text()
    assert text.count(INSTALLED) == 1
    program = Path(sys.executable).parent / "liveroom"
    made = tmp_path / UNIT.name
    made.write_text(text.replace(INSTALLED, str(program)))
    return made


def test_systemd_takes_every_line_of_the_unit(here: Path) -> None:
    """No unknown section, directive or value."""
    verdict = analyze("verify", "--man=no", str(here))
    assert (verdict.returncode, verdict.stderr) == (0, "")


def test_systemd_keeps_the_engine_from_what_it_does_not_need(here: Path) -> None:
    """The sum of what is left open stays small."""
    verdict = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(here))
    if "Failed to" in verdict.stderr:
        pytest.skip(f"systemd-analyze judges no file here: {verdict.stderr.strip()}")
    assert verdict.returncode == 0, verdict.stdout


async def test_systemd_command_serves_from_the_state_directory_and_ends_in_order(
    tmp_path: Path,
) -> None:
    """With the file and the secrets that it names; what is bought is on the service's own disk."""
    service = unit()["Service"]
    program, *args = service["ExecStart"].split()
    assert program == INSTALLED
    name, _, data = service["Environment"].partition("=")
    assert data.startswith(f"/var/lib/{service['StateDirectory']}")
    config = tmp_path / "liveroom.toml"
    config.write_text("workers = 1\n")
    environment = {"LIVEROOM_JWT_SECRET": harness.SECRET, name: data}
    with Ground(tmp_path, ["host"], texts={"/etc/liveroom/liveroom.toml": str(config)}) as ground:
        ground.start("host", ["liveroom", *args], environment)
        settings = Settings()
        ready = f"http://127.0.0.1:{ground.port('host', settings.ops_port)}/readyz"
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not await answers(session, ready):
                assert not ground.ended("host"), ground.log("host")
        assert list(ground.folder("host").rglob("*.aof")), "the store's log"
        stopped = await asyncio.to_thread(ground.stop, "host", float(service["TimeoutStopSec"]))
        assert (stopped, service["KillSignal"]) == (0, "SIGTERM")


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether an address says yes."""
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        await asyncio.sleep(0.05)
        return False
