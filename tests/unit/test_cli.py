"""The command: what it prints, and how it says no."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import fields
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from liveroom import __version__
from liveroom.auth.claims import Role
from liveroom.auth.keys import StaticKeys
from liveroom.auth.tokens import Issuer, Verifier
from liveroom.cli import COMMANDS, ROLES, cli
from liveroom.config import Settings


SECRET = "correct-horse-battery-staple-0123456789"


def _run(*args: str, **env: str | None) -> Result:
    clean = {"LIVEROOM_JWT_SECRET": None, "LIVEROOM_REDIS": None} | env
    return CliRunner().invoke(cli, args, env=clean)


def test_cli_version_is_the_packages() -> None:
    """`liveroom version` prints it and nothing else."""
    assert _run("version").output == __version__ + "\n"


def test_cli_roles_are_those_of_tokens() -> None:
    """The command offers every role there is."""
    assert list(Role) == list(ROLES)


def test_cli_token_is_one_that_the_engine_takes() -> None:
    """What it prints is verified with the same secret, issuer and audience."""
    result = _run(
        "token", "--room", "r1", "--role", "host", "--user", "u1", "--name", "Ann", "--ttl", "60",
        LIVEROOM_JWT_SECRET=SECRET, LIVEROOM_JWT_ISSUER="shop", LIVEROOM_JWT_AUDIENCE="live",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    verifier = Verifier([Issuer(StaticKeys.from_secrets(SECRET), "shop", "live")])
    claims = verifier.verify_nowait(result.output.strip())
    assert claims is not None
    assert (claims.user, claims.name, claims.role, claims.room) == ("u1", "Ann", Role.HOST, "r1")
    assert 0 < claims.exp - time.time() <= 60


def test_cli_token_reads_the_secret_from_a_file(tmp_path: Path) -> None:
    """--config stands in for the environment."""
    path = tmp_path / "liveroom.toml"
    path.write_text(f'jwt_secret = "{SECRET}"\n')
    result = _run("token", "--room", "r", "--role", "viewer", "--user", "u", "--config", str(path))
    assert result.exit_code == 0
    assert result.output.count(".") == 2


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), "jwt_secret"),
        (("--ttl", "86401"), "ttl"),
        (("--user", "no spaces"), "user"),
        (("--role", "king"), "role"),
    ],
)
def test_cli_token_refuses_with_a_sentence(args: tuple[str, ...], expected: str) -> None:
    """Without a secret, or for what no engine would take: status 2, no traceback."""
    base = ("token", "--room", "r", "--role", "viewer", "--user", "u")
    env = {"LIVEROOM_JWT_SECRET": SECRET} if args else {}
    result = _run(*base, *args, **env)
    assert result.exit_code == 2
    assert expected in result.output
    assert "Traceback" not in result.output
    assert SECRET not in result.output


def test_cli_config_shows_every_setting_and_no_secret() -> None:
    """One row per setting with its value, unit and effect; a secret is only said to be set."""
    url = "redis://app:hunter22@example.org:6379"
    result = _run("config", LIVEROOM_JWT_SECRET=SECRET, LIVEROOM_REDIS=url, LIVEROOM_BEAT_MS="50")
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.output.splitlines()[1:] if line.strip()}
    assert {item.name for item in fields(Settings)} <= set(rows)
    assert rows["beat_ms"].split()[1:3] == ["50", "ms"]
    assert rows["jwt_secret"].rstrip().endswith("at least 32 bytes")  # a row is one line in a pipe
    assert "(set)" in rows["jwt_secret"]
    assert SECRET not in result.output
    assert "hunter22" not in result.output


def test_cli_misspelt_variable_is_named_without_its_value() -> None:
    """A secret under a wrong name is not shown."""
    result = _run("config", LIVEROOM_JWT_SECRETS=SECRET)
    assert result.exit_code == 2
    assert "jwt_secrets" in result.output
    assert SECRET not in result.output


def test_cli_serve_takes_no_setting_that_does_not_exist(tmp_path: Path) -> None:
    """A wrong file, name or value: status 2 and the setting's name."""
    path = tmp_path / "liveroom.toml"
    path.write_text("colour = 1\n")
    for args, name in (
        (("--config", str(path)), "colour"),
        (("--workers", "0"), "workers"),
        (("--durability", "forever"), "durability"),
        (("--config", str(tmp_path / "none.toml")), "none.toml"),
    ):
        result = _run("serve", *args)
        assert result.exit_code == 2
        assert name in result.output
        assert "Traceback" not in result.output


def test_cli_worker_is_hidden_and_ends_without_an_order() -> None:
    """It is not for people: without a supervisor at the other end it leaves."""
    assert "worker" not in _run("--help").output.split("Commands:")[1].split()
    done = subprocess.run(
        [sys.executable, "-m", "liveroom", "worker"],
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1


def test_cli_import_is_quick() -> None:
    """`liveroom --help` loads neither the server nor Redis nor the tables' library."""
    code = "import sys, liveroom.cli; sys.exit(', '.join({'aiohttp', 'redis', 'rich'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], timeout=20, check=False)
    assert done.returncode == 0


def test_cli_command_of_a_plugin_that_is_broken_harms_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says why when it is called; the list of commands is still shown."""
    broken = EntryPoint("broken", "no_such_module:command", COMMANDS)
    monkeypatch.setattr("liveroom.cli.entry_points", lambda **_: EntryPoints([broken]))

    assert _run("-h").exit_code == 0
    assert _run("version").output == __version__ + "\n"
    result = _run("broken")
    assert result.exit_code == 1
    assert "cannot be loaded: No module named 'no_such_module'" in result.output
