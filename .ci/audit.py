"""Hold what is installed, and what the TypeScript clients lock, against published advisories.

    .venv/bin/python .ci/audit.py [offline-ok]

Exit status 1: there is an advisory; each has a line. Exit status 2: somebody could not be asked about
something, which is told; with `offline-ok` that is no failure. Else 0.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


ROOT = Path(__file__).parents[1]
LIMIT_S = 18
"""For each of at most three questions."""
_PIP_AUDIT = (
    "pip-audit",
    "--format=json",
    "--progress-spinner=off",
    "--timeout=10",
    "--skip-editable",
)
_EDITABLE = "editable"  # the engine itself


class Heard(NamedTuple):
    """What came of one question.

    Args:
        advisories: one line for each.
        unasked: what nobody could be asked about; empty: nothing.
    """

    advisories: list[str]
    unasked: str = ""


def main(words: list[str]) -> int:
    """Ask, tell, return the exit status."""
    heard = [_python_packages(), _npm_packages()]
    advisories = [line for one in heard for line in one.advisories]
    unasked = [one.unasked for one in heard if one.unasked]
    for line in advisories:
        print(f"audit: advisory: {line}")
    for what in unasked:
        print(f"audit: could not ask about {what}")
    if not advisories and not unasked:
        print("audit: no published advisories")
    if advisories:
        return 1
    return 2 if unasked and "offline-ok" not in words else 0


def _python_packages() -> Heard:
    """Ask the package index; about all that it does not know, another service."""
    heard = Heard([], "Python packages")
    for service in ("pypi", "osv"):
        cache = ROOT / ".venv" / f".audit-{service}"
        told = _told(*_PIP_AUDIT, f"--vulnerability-service={service}", f"--cache-dir={cache}")
        if "dependencies" in told:
            heard = _of_pip(told["dependencies"])
        if not heard.unasked:
            break
    return heard


def _of_pip(rows: list[dict[str, Any]]) -> Heard:
    skipped = [row["name"] for row in rows if _EDITABLE not in row.get("skip_reason", _EDITABLE)]
    lines = [
        f"{row['name']} {row['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none'}"
        for row in rows
        for one in row.get("vulns", ())
    ]
    if not skipped:
        return Heard(lines)
    named = f": {', '.join(skipped)}" if len(skipped) < len(rows) / 2 else ""
    return Heard(lines, f"{len(skipped)} of {len(rows)} Python packages{named}")


def _npm_packages() -> Heard:
    told = _told("npm", "audit", "--json", "--package-lock-only", f"--prefix={ROOT / 'clients'}")
    if "vulnerabilities" not in told:
        return Heard([], "npm packages")
    rows = told["vulnerabilities"].values()
    return Heard([f"{row['name']} {row['range']} (npm): {row['severity']}" for row in rows])


def _told(program: str, *args: str) -> dict[str, Any]:
    """Return the JSON that a program writes; empty where there is no program, no answer or no time."""
    found = shutil.which(program)
    if found is None:
        return {}
    try:
        done = subprocess.run(
            [found, *args], check=False, capture_output=True, text=True, timeout=LIMIT_S
        )  # fmt: skip
        made: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return {}
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
