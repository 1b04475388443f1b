"""The built pages: whole, safe, shipped with the wheel; their sources hold to the rules.

That they are what the sources give is for `make check-assets`, which needs Node.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest


ROOT = Path(__file__).parents[2]
STATIC = ROOT / "engine" / "liveroom" / "web" / "static"
WEB = ROOT / "clients" / "web" / "src"
FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())
PAGES = [name for name in FILES if name.endswith(".html")]
SOURCES = sorted(path for path in WEB.rglob("*") if path.suffix in (".ts", ".tsx", ".html"))
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/liveroom.json").read_text("utf-8"))


def test_assets_are_all_there() -> None:
    """Three pages, the SDK, the licences of what is in them."""
    assert {"viewer.html", "host.html", "ops.html", "sdk/liveroom.js", "licenses.md"} <= {*FILES}
    assert all((STATIC / name).stat().st_size > 0 for name in FILES)


@pytest.mark.parametrize("page", PAGES)
def test_assets_pages_name_files_that_are_there(page: str) -> None:
    """Every address is a shipped file at /static/; nothing comes from elsewhere."""
    html = (STATIC / page).read_text(encoding="utf-8")
    addresses = set(re.findall(r'(?:src|href)="([^"]+)"', html)) - {"data:,"}

    assert addresses
    assert {name.removeprefix("/static/") for name in addresses} <= {*FILES}


@pytest.mark.parametrize("page", PAGES)
def test_assets_pages_have_no_inline_script_or_style(page: str) -> None:
    """The policy would block them; so there are none."""
    html = (STATIC / page).read_text(encoding="utf-8")

    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\bstyle=|\son\w+=|javascript:", html)


def test_assets_hold_nothing_that_no_page_needs() -> None:
    """Each script and style sheet is named by a page or by another script."""
    texts = {name: (STATIC / name).read_text(encoding="utf-8") for name in FILES}
    for name in FILES:
        if name.startswith("sdk/") or not name.endswith((".js", ".css")):
            continue
        assert any(name in text for other, text in texts.items() if other != name), name


def test_assets_scripts_load_nothing_from_elsewhere() -> None:
    """Built scripts import relative files only, and hold no source maps or machine paths."""
    for name in FILES:
        if name.endswith(".js"):
            text = (STATIC / name).read_text(encoding="utf-8")
            imported = re.findall(r'(?:\bfrom|\bimport)\s*\(?["`\']([^"`\']+)["`\']', text)
            assert all(target.startswith(("./", "/static/")) for target in imported), name
            assert "sourceMappingURL" not in text, name
            assert "/node_modules/" not in text, name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(WEB).as_posix())
def test_assets_sources_write_text_only(path: Path) -> None:
    """No way from a string to markup or code is used."""
    risky = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
        r"|createContextualFragment|DOMParser|setHTML"
    )
    assert not re.search(risky, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_assets_are_in_the_package(kind: str, tmp_path: Path) -> None:
    """Who installs it needs no Node."""
    pytest.importorskip("hatchling", reason="needs hatchling: make setup")
    build = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (package,) = tmp_path.iterdir()
    if kind == "wheel":
        names = {*zipfile.ZipFile(package).namelist()}
        prefix = "liveroom/web/static/"
    else:
        with tarfile.open(package) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        prefix = "engine/liveroom/web/static/"

    assert {prefix + name for name in FILES} <= names
    assert not any("node_modules" in name for name in names)


# The dashboard.


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    return panels


def test_dashboard_has_what_grafana_reads() -> None:
    """Version of the scheme, a stable uid, panels with ids of their own that do not overlap."""
    assert DASHBOARD["schemaVersion"] >= 39
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("liveroom", "liveroom")
    assert DASHBOARD["time"].keys() == {"from", "to"}
    panels = _panels()
    assert len({panel["id"] for panel in panels}) == len(panels) > 12
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_dashboard_every_panel_asks_something() -> None:
    """Each has a title, the chosen data source, a unit and expressions with names of their own."""
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    for panel in _panels():
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["type"] in ("timeseries", "stat")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        targets = panel["targets"]
        assert targets
        assert len({target["refId"] for target in targets}) == len(targets)
        for target in targets:
            assert "liveroom_" in target["expr"]
            used = set(re.findall(r"\$(?:\{(\w+)\}|(\w+))", target["expr"]))
            assert {a or b for a, b in used} <= names | {"__rate_interval"}
            assert target["expr"].count("(") == target["expr"].count(")")
