"""A small swarm against a real engine: everything of a scenario at once, and the exit status."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import harness


LIMIT_S = 50
EVERYTHING = """
title = "Everything at once"
seconds = 2
[crowd]
viewers = 50
codec = "msgpack"
deflate = true
probe_every = 2
[engine]
workers = 2
[danmaku]
per_s = 12
ask_every = 2
[likes]
per_s = 5
[gifts]
per_s = 5
givers = 10
[storm]
at_s = 0.1
share = 0.4
[herd]
at_s = 0.9
share = 0.5
[flash]
at_s = 0.7
units = 5
buyers = 1.0
repeats = 0.5
[lottery]
at_s = 0.5
seconds = 1
share = 1.0
winners = 3
"""
WANTED = {
    "joined": (50, 50), "errors": (0, 0), "oracle_faults": (0, 0), "gifts_lost": (0, 0),
    "gifts": (5, 100), "oversell": (0, 0), "undersell": (0, 0), "reserved": (5, 5),
    "draw_faults": (0, 0), "back": (10, 25), "not_resumed": (0, 0), "invariants_broken": (0, 0),
    "accounts_judged": (1, 30), "refused": (0, 0),
}  # fmt: skip


async def swarm(*args: str | Path) -> tuple[int, str]:
    """Run the command; return its status and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "liveroom_loadtest", "swarm", *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LIMIT_S):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_swarm_does_everything_at_once_and_all_objectives_are_reached(tmp_path: Path) -> None:
    """50 viewers in two processes against an engine of its own with two workers."""
    objectives = "".join(
        f'[[objectives]]\nfigure = "{name}"\nat_least = {low}\nat_most = {high}\n'
        for name, (low, high) in WANTED.items()
    )
    file, html, report = (tmp_path / name for name in ("s.toml", "r.html", "r.json"))
    file.write_text(EVERYTHING + objectives)
    status, said = await swarm(file, "--engine", "--html", html, "--json", report)

    assert status == 0, said
    plain: dict[str, Any] = json.loads(report.read_text())
    assert plain["reached"] is True
    assert plain["figures"]["age_p99_ms"] > 0
    assert plain["figures"]["cpu_us_per_delivery"] > 0
    assert plain["figures"]["entries"] >= 20
    assert {"age_p99_ms", "viewers", "engine_cores", "megabytes"} <= set(plain["series"])
    assert html.read_text().count("PASS") > len(WANTED)
    assert "PASS oversell = 0: 0" in said


async def test_swarm_against_a_running_engine_tells_a_missed_objective(
    start_worker: harness.StartWorker, embedded_url: str, tmp_path: Path
) -> None:
    """Status 1, with the line that says which."""
    worker = await start_worker(embedded_url)
    file = tmp_path / "s.toml"
    file.write_text(
        'title = "t"\nseconds = 1\n[crowd]\nviewers = 6\nprocesses = 1\nprobe_every = 1\n'
        "[danmaku]\nper_s = 5\n"
        '[[objectives]]\nfigure = "age_p50_ms"\nat_most = 0.001\n'
    )
    url = worker.http.replace("http", "ws")
    status, said = await swarm(file, "--url", url, "--secret", harness.SECRET)

    assert status == 1, said
    assert "FAIL age_p50_ms" in said
    assert "PASS oracle_faults" in said
