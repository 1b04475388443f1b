"""The command: what it lists, and exit status 2 with one sentence where nothing can be run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from liveroom_loadtest.cli import cli


SECRET = "correct-horse-battery-staple-0123456789"


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, args, env={"LIVEROOM_JWT_SECRET": ""})
    return result.exit_code, result.stdout, result.stderr


def test_cli_lists_scenarios_and_figures() -> None:
    """By the names that arguments and objectives take."""
    status, out, _ = run("scenarios")
    assert (status, len(out.splitlines())) == (0, 7)
    assert "steady " in out
    assert "age_p99_ms" in run("figures")[1]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["no-such", "--engine"], "no-such: cannot be read"),
        (["steady"], "expected --url or --engine"),
        (["steady", "--engine", "--url", "ws://h"], "expected --url or --engine"),
        (["steady", "--url", "h:80"], "--url: expected ws://"),
        (["steady", "--engine", "--viewers", "0"], "crowd.viewers: Expected `int` >= 1"),
        (["steady", "--url", "ws://127.0.0.1:1"], "gifts: needs a host"),
        (["flood", "--url", "ws://127.0.0.1:1"], "without --secret no room can be opened"),
    ],
)  # fmt: skip
def test_cli_tells_why_it_could_not_run(args: list[str], sentence: str) -> None:
    """Status 2, and nothing was started."""
    status, _, err = run("swarm", *args)
    assert status == 2
    assert sentence in err


def test_cli_tells_of_an_engine_that_is_not_there() -> None:
    """The desk finds it first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{free.getsockname()[1]}"
        status, _, err = run("swarm", "flood", "--url", url, "--secret", SECRET)
    assert status == 2
    assert "Cannot connect" in err
    assert "auth.secret: expected" in run("swarm", "flood", "--url", url, "--secret", "short")[2]


def test_cli_tells_of_an_engine_that_does_not_start(tmp_path: Path) -> None:
    """With its last words."""
    file = tmp_path / "s.toml"
    file.write_text('title = "t"\n[engine]\nsettings = { beat_ms = 1 }\n')
    status, _, err = run("swarm", str(file), "--engine", "--quiet")
    assert status == 2
    assert "the engine did not start" in err
    assert "beat_ms" in err
