"""What `deploy/` and the Dockerfile start, as processes on loopback: their own commands, mapped.

There is one machine and no container here. So a service's name with a port becomes a free port, a
folder of a container one of the test's, the program of an image this machine's. Nothing else of a
command, an environment or a file is changed, and what is not known cannot be started.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson
import pytest

import servers
from liveroom.config import Settings
from liveroom.store.child import Child, spawn
from liveroom.store.embedded import find_server


__all__ = ["DEPLOY", "ROOT", "Ground", "Image", "image_of", "instructions_of"]

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
HOST = "127.0.0.1"
_COMMAND_S = 20.0
_END_S = 2.0
_ENV = shutil.which("env") or "/usr/bin/env"

_NGINX = """
user root;
worker_processes 2;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include {conf};
}}
"""
"""What the image of nginx has around `conf.d`, with the files that it writes kept in one folder."""


# The Dockerfile.


class Image(NamedTuple):
    """What a container of the Dockerfile runs: its last stage."""

    environment: dict[str, str]
    command: list[str]
    healthcheck: list[str]
    ports: list[int]


def instructions_of(dockerfile: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each with its text in one line."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines()
    return [(word, text) for word, _, text in (line.partition(" ") for line in whole) if word]


def image_of(dockerfile: str) -> Image:
    """Return what the last stage of a Dockerfile runs."""
    instructions = instructions_of(dockerfile)
    begin = max(n for n, (word, _) in enumerate(instructions) if word == "FROM")
    told: dict[str, list[str]] = {}
    for word, text in instructions[begin:]:
        told.setdefault(word, []).append(text)
    environment = dict(pair.split("=", 1) for text in told["ENV"] for pair in shlex.split(text))
    (entry,), (words,), (health,) = told["ENTRYPOINT"], told["CMD"], told["HEALTHCHECK"]
    command = orjson.loads(entry) + orjson.loads(words)
    check = orjson.loads(health.partition(" CMD ")[2])
    return Image(environment, command, check, [int(port) for port in told["EXPOSE"]])


# Where everything is.


class Ground:
    """One machine in place of several: ports and folders for named services, and their processes.

    Args:
        home: a folder for all of them.
        names: of the services, as others call them.
        published: ports at which the outside reaches a service's port.
        texts: further words and what stands for them here.
        programs: the folder of the engine's.
    """

    def __init__(
        self,
        home: Path,
        names: Iterable[str],
        published: Mapping[int, tuple[str, int]] | None = None,
        texts: Mapping[str, str] | None = None,
        programs: Path = Path(sys.executable).parent,
    ) -> None:
        self.programs = programs
        self._home = home
        self._names = set(names)
        self._published = published or {}
        self._texts = {"0.0.0.0": HOST} | dict(texts or {})
        self._ports: dict[tuple[str, int], int] = {}
        self._children: dict[str, Child] = {}
        places = "|".join(map(re.escape, sorted(self._names, key=len, reverse=True)))
        self._place = re.compile(rf"(?<![\w.-])({places}|127\.0\.0\.1|localhost):(\d+)\b")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """End what still runs, in order: a master of nginx that is killed leaves its workers behind."""
        for child in reversed(self._children.values()):
            child.stop(_END_S)
        for port in self._ports.values():
            servers.release_port(port)

    def port(self, name: str, port: int) -> int:
        """Return the port that stands for a service's."""
        assert name in self._names, name
        if (name, port) not in self._ports:
            self._ports[name, port] = servers.claim_port()
        return self._ports[name, port]

    def folder(self, name: str) -> Path:
        """Return the folder of a service."""
        made = self._home / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def mapped(self, name: str, text: str) -> str:
        """Return a text of a service's with the places that are here."""

        def place(found: re.Match[str]) -> str:
            called, port = found[1], int(found[2])
            if called == "localhost" and port in self._published:
                return f"localhost:{self.port(*self._published[port])}"
            there = name if called in (HOST, "localhost") else called
            return f"{HOST}:{self.port(there, port)}"

        text = self._place.sub(place, text)
        for there, here in self._texts.items():
            text = re.sub(rf"(?<![\w.]){re.escape(there)}(?![\w.])", here, text)
        return re.sub(r"(?<![\w/])/(var/lib/liveroom|data)\b", str(self.folder(name)), text)

    def command(self, name: str, words: Sequence[str]) -> list[str]:
        """Return a command of a service's as it is run here. Skips where its program is not."""
        program, *rest = words
        args = [self.mapped(name, word) for word in rest]
        for n in range(len(rest) - 1):
            if rest[n] in self._names and rest[n + 1].isdigit():
                args[n : n + 2] = [HOST, str(self.port(rest[n], int(rest[n + 1])))]
        return _PROGRAMS[program](self, name, args)

    def start(self, name: str, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a service's command with its environment alone."""
        made = {key: self.mapped(name, value) for key, value in environment.items()}
        pairs = [f"{key}={value}" for key, value in made.items()]
        clean = ["-i", f"--chdir={self.folder(name)}", f"PATH={os.environ['PATH']}", *pairs]
        command = [*clean, *self.command(name, words)]
        self._children[name] = spawn(Path(_ENV), command, self.folder(name) / "log")

    def run(self, name: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command beside a service to its end: a health check, a hook."""
        return subprocess.run(
            self.command(name, words), check=False, capture_output=True, text=True,
            timeout=_COMMAND_S,
        )  # fmt: skip

    def wait_for(self, name: str, words: Sequence[str], seconds: float) -> None:
        """Run a health check until it passes."""

        def passes() -> bool:
            assert not self.ended(name), self.log(name)
            return self.run(name, words).returncode == 0

        servers.until(passes, seconds, f"{name} is healthy")

    def stop(self, name: str, grace: float) -> int:
        """Ask a service to end; return its exit status, negative for a signal."""
        return self._children.pop(name).stop(grace)

    def ended(self, name: str) -> bool:
        """Whether a service has ended by itself."""
        return self._children[name].poll() is not None

    def log(self, name: str) -> str:
        """Return what a service said."""
        return (self.folder(name) / "log").read_text()


# The programs of the images, as this machine has them.


def _found(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no {names[0]} on PATH (.ci/run installs it)")
    return found


def _liveroom(ground: Ground, name: str, args: list[str]) -> list[str]:
    settings = Settings()
    places = [f"--{kind}={ground.port(name, port)}" for kind, port in (
        ("port", settings.port), ("ops-port", settings.ops_port)
    )]  # fmt: skip
    return [str(ground.programs / "liveroom"), *args, *places]


def _store(ground: Ground, name: str, args: list[str]) -> list[str]:
    program = shutil.which("valkey-server") or str(find_server())
    return [program, *args, "--bind", HOST, "--port", str(ground.port(name, 6379))]


def _store_client(ground: Ground, name: str, args: list[str]) -> list[str]:
    return [_found("redis-cli", "valkey-cli"), "-p", str(ground.port(name, 6379)), *args]


def _proxy(ground: Ground, name: str, args: list[str]) -> list[str]:
    text = ground.mapped(name, (DEPLOY / "nginx" / "liveroom.conf").read_text())
    text, listens = re.subn(
        r"listen (\d+);", lambda at: f"listen {HOST}:{ground.port(name, int(at[1]))};", text
    )
    assert listens == 1
    folder = ground.folder(name)
    (folder / "liveroom.conf").write_text(text)
    (folder / "nginx.conf").write_text(_NGINX.format(conf=folder / "liveroom.conf"))
    return [_found("nginx"), *args, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]


_PROGRAMS: dict[str, Callable[[Ground, str, list[str]], list[str]]] = {
    "liveroom": _liveroom,
    "nginx": _proxy,
    "python": lambda ground, name, args: [str(ground.programs / "python"), *args],
    "sleep": lambda ground, name, args: [_found("sleep"), *args],
    "valkey-cli": _store_client,
    "valkey-server": _store,
}


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Return a compose file with its `${NAME:-default}` and `${NAME:?why}` filled in."""

    def value(found: re.Match[str]) -> str:
        name, kind, more = found[1], found[2], found[3]
        assert name in environ or kind == ":-", f"{name}: {more}"
        return environ.get(name, more)

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, text)


def only_known(service: Mapping[str, Any], known: Iterable[str]) -> None:
    """Fail on a field that the tests neither map nor leave out on purpose."""
    assert service.keys() <= set(known), service.keys() - set(known)
