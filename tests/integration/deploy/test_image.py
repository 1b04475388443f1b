"""The Dockerfile without Docker: what it copies is built, installed elsewhere, and runs by its commands."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

import harness
import servers
from deployed import DEPLOY, ROOT, Ground, image_of, instructions_of
from liveroom.config import Settings


DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = instructions_of(DOCKERFILE)
INSTALL = "python -m venv /opt/liveroom && /opt/liveroom/bin/pip install --no-cache-dir ."
SCENARIOS = ["flash", "flood", "herd", "lottery", "rooms", "steady", "storm"]
BUILD_S, LOAD_S = 60, 50


def run(*command: str | Path, seconds: float = BUILD_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=seconds, cwd="/"
    )  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel of what the Dockerfile copies, and no source.

    What the wheel needs is this environment's: an index is asked for nothing.
    """
    pytest.importorskip("hatchling", reason="needs hatchling: make setup")
    home = tmp_path_factory.mktemp("image")
    source, wheels, made = home / "src", home / "wheels", home / "env"
    _copy_into(source)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    built = subprocess.run(build, cwd=source, check=False, capture_output=True, timeout=BUILD_S)
    assert built.returncode == 0, built.stderr.decode()
    (wheel,) = wheels.iterdir()
    assert run(sys.executable, "-m", "venv", "--without-pip", made).returncode == 0
    python = made / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    installed = run(sys.executable, "-m", "pip", "--python", python, *install)
    assert installed.returncode == 0, installed.stderr
    (site,) = made.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import liveroom, liveroom_client; print(liveroom.__file__)")
    assert where.stdout.startswith(str(site)), where
    return made / "bin"


def _copy_into(source: Path) -> None:
    """Do what COPY does before the installation, leaving out what `.dockerignore` names."""
    assert ("RUN", INSTALL) in INSTRUCTIONS
    ignored = [line.removeprefix("**/") for line in (ROOT / ".dockerignore").read_text().split()]
    for word, text in INSTRUCTIONS[: INSTRUCTIONS.index(("RUN", INSTALL))]:
        if word != "COPY":
            continue
        *names, target = text.split()
        for name in names:
            there, here = ROOT / name, source / target / (name if target.endswith("/") else "")
            if there.is_dir():
                shutil.copytree(there, here, ignore=shutil.ignore_patterns(*ignored))
            else:
                here.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(there, here)


def test_image_serves_and_its_health_check_tells(programs: Path, tmp_path: Path) -> None:
    """Alone, with a key: its own store in the volume, ready by its own check, and ends in order."""
    image = image_of(DOCKERFILE)
    assert image.ports == [Settings().port]
    with Ground(tmp_path, ["liveroom"], programs=programs) as ground:
        environment = image.environment | {"LIVEROOM_JWT_SECRET": harness.SECRET}
        ground.start("liveroom", image.command, environment)
        ground.wait_for("liveroom", image.healthcheck, 30)
        volume = Path(ground.mapped("liveroom", dict(INSTRUCTIONS)["VOLUME"]))
        assert list(volume.rglob("*.aof")), "the store's log"
        assert ground.stop("liveroom", 40) == 0
        assert ground.run("liveroom", image.healthcheck).returncode != 0


def test_image_refuses_to_serve_without_a_key(programs: Path, tmp_path: Path) -> None:
    """As the comment beside its command says."""
    image = image_of(DOCKERFILE)
    with Ground(tmp_path, ["liveroom"], programs=programs) as ground:
        ground.start("liveroom", image.command, image.environment)
        servers.until(lambda: ground.ended("liveroom"))
        assert "jwt_secret: expected a key" in ground.log("liveroom")


def test_image_runs_as_one_who_owns_its_volume() -> None:
    """And as the user by whose number Kubernetes knows it: a number, so that it is seen to be no root."""
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    told = dict(instructions_of(last))
    (uid,) = re.findall(r"useradd --uid (\d+)", told["RUN"])
    data = shlex.split(told["RUN"])[-1]
    assert (told["USER"], data) == (uid, told["VOLUME"])
    assert dict(pair.split("=") for pair in told["ENV"].split())["LIVEROOM_DATA"] == data
    for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "engine.yaml").read_text()):
        if document["kind"] == "Deployment":
            assert document["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == int(uid)


def test_package_brings_the_load_test_with_its_scenarios(programs: Path) -> None:
    """`liveroom-loadtest` lists and runs them where there is no source."""
    program = programs / "liveroom-loadtest"
    listed = run(program, "scenarios")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == SCENARIOS, listed.stderr

    options = ("--engine", "--viewers", "60", "--seconds", "1", "--processes", "1", "--quiet")
    played = run(program, "swarm", "steady", *options, seconds=LOAD_S)
    assert "PASS oracle_faults" in played.stdout, played.stderr
    assert "PASS errors" in played.stdout
