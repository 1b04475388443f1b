"""The tree keeps its own rules: files stay small, code stays in its folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest


ROOT = Path(__file__).parents[2]
SOURCES = ("engine", "plugins", "clients/python", "loadtest")
MAX_LINES = 420
MAX_FUNCTION = 45


def _files() -> list[Path]:
    return sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            last = node.body[-1].end_lineno
            assert last is not None
            yield node.name, last - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_layout_files_and_functions_stay_small(path: Path) -> None:
    """A file holds one thing; a function fits on a screen."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert {name: size for name, size in _functions(path) if size > MAX_FUNCTION} == {}


def test_layout_the_median_function_is_short() -> None:
    """Half of all functions have fewer than eight lines, without signature and docstring."""
    sizes = [size for path in _files() for _, size in _functions(path)]
    assert median(sizes) < 8


def test_layout_no_folder_of_odds_and_ends() -> None:
    """Nothing is called utils, helpers, common or misc."""
    odd = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in _files() if odd & {path.stem, *path.parent.parts}] == []


def test_layout_every_test_file_of_a_unit_mirrors_a_source() -> None:
    """tests/unit/a/test_b.py stands for engine/liveroom/a/b.py (or a document, or the tree).

    What is in tests/unit/plugins stands for plugins/liveroom_plugins, what is in tests/unit/client
    for clients/python/liveroom_client.
    """
    about_the_tree = {"assets", "deploy", "docs", "exports", "layout", "servers", "vectors"}
    unit = ROOT / "tests" / "unit"
    for path in unit.rglob("test_*.py"):
        name = path.stem.removeprefix("test_")
        within = path.parent.relative_to(unit)
        folder = ROOT / "engine" / "liveroom" / within
        if within.parts[:1] == ("plugins",):
            folder = ROOT / "plugins" / "liveroom_plugins" / Path(*within.parts[1:])
        elif within.parts[:1] == ("client",):
            folder = ROOT / "clients" / "python" / "liveroom_client" / Path(*within.parts[1:])
        elif within.parts[:1] == ("loadtest",):
            folder = ROOT / "loadtest" / "liveroom_loadtest" / Path(*within.parts[1:])
        known = name in about_the_tree or (folder / f"{name}.py").exists()
        assert known, f"{path.relative_to(ROOT)} mirrors nothing"
