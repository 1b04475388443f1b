"""Puts the peers into a folder of their own: nothing of the system or the project is changed.

Python packages go into a virtual environment, npm's beside a copy of the servers, and Debian's are
unpacked without being installed, so that no service starts. The one exception is an empty directory
that nginx with nchan wants whatever its configuration says (`NGINX_TEMP`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


__all__ = ["HOME", "NGINX_TEMP", "Place", "install"]

HOME = Path(__file__).parents[2] / ".liveroom" / "peers"
NGINX_TEMP = Path("/var/lib/nginx")
_HERE = Path(__file__).parent
_DEBIAN = ("nats-server", "nginx", "libnginx-mod-nchan")
_LIMIT_S = 300


class Place:
    """Where the peers are.

    Args:
        home: the folder of `install`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def node(self) -> Path:
        """The folder of the servers on Node."""
        return self.home / "socketio"

    @property
    def python(self) -> Path:
        """The Python that has the peers' packages."""
        return self.home / "venv" / "bin" / "python"

    @property
    def unpacked(self) -> Path:
        """The root of the unpacked Debian packages."""
        return self.home / "debian"

    def program(self, name: str) -> Path | None:
        """Return a server's program: the unpacked one, else the system's."""
        for folder in ("usr/sbin", "usr/bin"):
            path = self.unpacked / folder / name
            if path.exists():
                return path
        found = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        return Path(found) if found else None

    def nginx_modules(self) -> Path | None:
        """Return the folder of nginx's modules, if nchan's is in it."""
        for root in (self.unpacked, Path("/")):
            folder = root / "usr/lib/nginx/modules"
            if (folder / "ngx_nchan_module.so").exists():
                return folder
        return None

    def has_python(self, package: str) -> bool:
        """Tell whether the peers' Python has a package."""
        return any(self.home.glob(f"venv/lib/python*/site-packages/{package}/__init__.py"))

    def has_node(self, package: str) -> bool:
        """Tell whether Node and a package of its are there."""
        return bool(shutil.which("node")) and (self.node / "node_modules" / package).exists()


def install(home: Path) -> list[str]:
    """Get what can be got; return what could not, with the reason."""
    home.mkdir(parents=True, exist_ok=True)
    failed = []
    for what, step in (("npm", _npm), ("pip", _pip), ("apt-get", _apt)):
        try:
            step(Place(home))
        except (OSError, subprocess.SubprocessError) as exc:
            failed.append(f"{what}: {exc}")
    return failed


def _npm(place: Place) -> None:
    shutil.copytree(_HERE / "socketio", place.node, dirs_exist_ok=True)
    _run("npm", "ci", "--omit=dev", cwd=place.node)


def _pip(place: Place) -> None:
    _run(sys.executable, "-m", "venv", str(place.home / "venv"))
    _run(str(place.python), "-m", "pip", "install", "-q", "-r", str(_HERE / "requirements.txt"))


def _apt(place: Place) -> None:
    packages = place.home / "packages"
    packages.mkdir(exist_ok=True)
    for name in _DEBIAN:
        _run("apt-get", "download", name, cwd=packages)
    for package in packages.glob("*.deb"):
        _run("dpkg-deb", "-x", str(package), str(place.unpacked))
    NGINX_TEMP.mkdir(exist_ok=True)


def _run(*command: str, cwd: Path | None = None) -> None:
    sys.stderr.write(f"{' '.join(command)}\n")
    done = subprocess.run(
        command, cwd=cwd, timeout=_LIMIT_S, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise subprocess.SubprocessError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
