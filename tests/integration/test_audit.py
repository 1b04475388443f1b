"""`make audit`'s program: an advisory fails, and what nobody could be asked about is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


PROGRAM = Path(__file__).parents[2] / ".ci" / "audit.py"

UNKNOWN = {"name": "idna", "skip_reason": "Dependency not found on the index"}
OURS = {"name": "liveroom", "skip_reason": "distribution marked as editable"}
CLEAN = {"name": "yarl", "version": "1.2", "vulns": []}
BAD = {"name": "idna", "version": "3.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.7"]}]}
NPM_CLEAN: dict[str, Any] = {"vulnerabilities": {}}
NPM_BAD = {"vulnerabilities": {"ws": {"name": "ws", "range": "<8.17", "severity": "high"}}}
NPM_AWAY = {"message": "405", "statusCode": 405}


def audit(home: Path, pip: list[Any] | None, npm: Any, *args: str) -> tuple[int, list[str]]:
    """Run it where the tools that ask say this; None: one that fails. Return status and lines."""
    answers = {"pip-audit": None if pip is None else {"dependencies": pip}, "npm": npm}
    for name, answer in answers.items():
        said = "echo no network >&2; exit 1" if answer is None else f"echo '{json.dumps(answer)}'"
        tool = home / name
        tool.write_text(f"#!/bin/sh\n{said}\n")
        tool.chmod(0o700)
    done = subprocess.run(
        [sys.executable, PROGRAM, *args],
        check=False, capture_output=True, text=True, timeout=20, env={"PATH": f"{home}:/bin"},
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("offline", [(), ("offline-ok",)], ids=["", "offline-ok"])
@pytest.mark.parametrize(
    ("pip", "npm", "line"),
    [
        ([BAD, CLEAN, OURS], NPM_CLEAN, "audit: advisory: idna 3.1: PYSEC-1, mended in 3.7"),
        ([CLEAN], NPM_BAD, "audit: advisory: ws <8.17 (npm): high"),
        (None, NPM_BAD, "audit: advisory: ws <8.17 (npm): high"),
    ],
    ids=["of Python", "of npm", "one could not be asked"],
)
def test_audit_fails_on_an_advisory(
    tmp_path: Path, pip: list[Any] | None, npm: Any, line: str, offline: tuple[str, ...]
) -> None:
    """Whether the others could be asked or not."""
    status, said = audit(tmp_path, pip, npm, *offline)
    assert status == 1
    assert line in said


@pytest.mark.parametrize(
    ("pip", "npm", "line"),
    [
        (None, NPM_CLEAN, "audit: could not ask about Python packages"),
        ([UNKNOWN, OURS], NPM_CLEAN, "audit: could not ask about 1 of 2 Python packages"),
        ([UNKNOWN, CLEAN, CLEAN], NPM_CLEAN,
         "audit: could not ask about 1 of 3 Python packages: idna"),
        ([CLEAN], NPM_AWAY, "audit: could not ask about npm packages"),
        ([CLEAN], None, "audit: could not ask about npm packages"),
    ],
    ids=["pip-audit fails", "nothing known", "one unknown", "npm refused", "no npm"],
)  # fmt: skip
def test_audit_tells_what_it_could_not_ask(
    tmp_path: Path, pip: list[Any] | None, npm: Any, line: str
) -> None:
    """Never as if there were nothing; a failure unless that is told to be no reason."""
    assert audit(tmp_path, pip, npm) == (2, [line])
    assert audit(tmp_path, pip, npm, "offline-ok") == (0, [line])


def test_audit_says_so_when_there_is_nothing(tmp_path: Path) -> None:
    """Everybody was asked."""
    assert audit(tmp_path, [CLEAN, OURS], NPM_CLEAN) == (0, ["audit: no published advisories"])
