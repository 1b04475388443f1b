"""The documents say what the code does: tables are current, examples run, nothing is left out."""

from __future__ import annotations

import inspect
import re
import zlib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import harness
from liveroom import plugin
from liveroom.asyncapi import shipped_manager
from liveroom.config import Settings
from liveroom.errors import CLOSES, ERRORS
from liveroom.front import SYSTEM_BODIES
from liveroom.plugin import context, spec
from liveroom.plugin.manager import load_plugins
from liveroom.protocol.frame_builder import text_frame
from liveroom.protocol.frame_reader import FrameReader, Message
from liveroom.protocol.handshake import HandshakePolicy, accept_handshake
from liveroom.reference import TABLES, fill


ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WITH_TABLES = ("protocol.md", "configuration.md")


def read(name: str) -> str:
    """Return the text of a document."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


# Tables.


@pytest.mark.parametrize("name", WITH_TABLES)
def test_docs_tables_are_current(name: str) -> None:
    """`python -m liveroom.reference docs/*.md` would change nothing."""
    assert fill(read(name)) == read(name)


def test_docs_hold_every_table() -> None:
    """No table is rendered for nothing."""
    text = "".join(read(name) for name in WITH_TABLES)

    assert [name for name in TABLES if f"<!-- table: {name} -->" not in text] == []


def test_docs_name_every_error_close_command_event_and_state() -> None:
    """What can come over the wire stands in docs/protocol.md."""
    manager, text = shipped_manager(), read("protocol.md")
    events = [event.name for event in manager.events.values() if not event.internal]
    names = [*ERRORS, *SYSTEM_BODIES, *manager.commands, *events, *manager.states]
    names += [close.name for close in CLOSES.values()]

    assert [name for name in names if f"`{name}`" not in text] == []


def test_docs_tell_the_reply_of_every_command() -> None:
    """A command's text says what it returns, or the table of replies does."""
    section = read("protocol.md").partition("### Replies")[2].partition("\n## ")[0]
    docs = {op: bound.spec.doc for op, bound in shipped_manager().commands.items()}
    untold = [op for op in [*SYSTEM_BODIES, *docs] if "eturn" not in docs.get(op, "")]

    assert [op for op in untold if f"`{op}`" not in section] == []


def test_docs_name_every_setting() -> None:
    """docs/configuration.md lists every setting."""
    text = read("configuration.md")

    assert [f.name for f in fields(Settings) if f"| `{f.name}` |" not in text] == []


# The plugin contract.


def own_names(kind: type) -> list[str]:
    """Return the public names that a class itself declares."""
    declared = [
        *vars(kind),
        *vars(kind).get("__annotations__", {}),
        *getattr(kind, "__slots__", ()),
    ]
    return sorted({name for name in declared if not name.startswith("_")})


def test_docs_name_every_hook_and_declaration() -> None:
    """docs/plugins.md has a row for everything that `Plugin` declares, with its arguments."""
    text = read("plugins.md")
    hooks = inspect.getmembers(spec.Plugin, inspect.isfunction)
    shown = [
        f"{name}({', '.join(list(inspect.signature(m).parameters)[1:])})`" for name, m in hooks
    ]
    declared = [f"`{name}`" for name in own_names(spec.Plugin) if name not in dict(hooks)]

    assert [name for name in [*shown, *declared] if name not in text] == []


@pytest.mark.parametrize("kind", [context.Call, context.RoomHandle, context.Member, context.Engine])
def test_docs_name_all_that_a_plugin_may_touch(kind: type) -> None:
    """Each attribute and method stands in the paragraph of its class."""
    paragraph = read("plugins.md").partition(f"\n`{kind.__name__}`:")[2].partition("\n\n")[0]

    assert [name for name in own_names(kind) if not re.search(rf"`{name}[`(]", paragraph)] == []


@pytest.mark.parametrize("declared", [spec.EventSpec, spec.StateSpec, spec.Commit, spec.command])
def test_docs_name_every_argument_of_a_declaration(declared: Any) -> None:
    """The call is shown with all of its arguments, in order."""
    name = declared.__name__
    arguments = list(inspect.signature(declared).parameters)
    shown = re.search(rf"@?{name}\(([^)]*)\)`", read("plugins.md"))

    assert shown is not None
    assert re.sub(r"=…", "", shown[1]).split(", ") == arguments


def test_docs_name_every_lua_function_and_table() -> None:
    """What store/lua/prelude.lua gives to handlers has a row."""
    folder = Path(inspect.getfile(plugin)).parents[1] / "store" / "lua"
    source = (folder / "prelude.lua").read_text(encoding="utf-8")
    functions = re.findall(r"^local function (\w+)\(([^)]*)\)", source, re.MULTILINE)
    shown = [f"`{name}({'…' if args == '...' else args})`" for name, args in functions]
    tables = re.search(r"^local (ops, .*?) =", source, re.MULTILINE)
    assert tables is not None
    text = read("plugins.md").replace("event, body", "name, body")

    assert [row for row in shown if row not in text] == []
    assert [table for table in tables[1].split(", ") if f"`{table}[" not in text] == []


@pytest.fixture
async def hands_worker(
    embedded_url: str,
    start_worker: harness.StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> harness.Worker:
    """A worker with the example of docs/plugins.md, loaded as the configuration would."""
    example = read("plugins.md").partition("<!-- example: hands.py -->")[2]
    (tmp_path / "hands_example.py").write_text(blocks(example, "python")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return await start_worker(embedded_url, plugins=load_plugins(["hands_example:Hands"]))


async def test_docs_example_plugin_works(hands_worker: harness.Worker, room: str) -> None:
    """Hands go up once, everyone sees how many, and who is called is told alone."""
    await hands_worker.open_room(room)
    host = await hands_worker.control(room)
    ann, bob = await hands_worker.join(room, "ann"), await hands_worker.join(room, "bob")

    assert await ann.ask("hand.raise") == {"raised": True}
    assert await ann.ask("hand.raise") == {"raised": False}
    await bob.state("hands", lambda d: d == {"n": 1})
    again = await hands_worker.join(room, "ann")
    assert again.hello["own"]["hand"] == {"raised": True}

    await host.ask("hand.call", user="ann")
    called = await ann.event("hand.called", by="host")
    await bob.state("hands", lambda d: d == {"n": 0})

    assert (called["seq"], called["sub"]) == (1, 1)  # behind room.opened
    assert bob.events("hand.called") == []
    assert await host.refused("hand.call", user="ann") == "not_found"
    assert await ann.refused("hand.call", user="bob") == "unknown_op"


# What docs/protocol.md shows.


def wire_steps(text: str) -> list[tuple[str, bytes, bool, str | None]]:
    """Return (sign, bytes, whether they are cut short, payload's text) of a `wire` block."""
    steps = []
    for step in re.split(r"\n(?=[<>] )", text.strip()):
        lines = step.splitlines()
        shown = [line[2:] for line in lines if not line.startswith("  | ")]
        payload = [line[4:] for line in lines if line.startswith("  | ")]
        data = " ".join(shown)
        cut = data.endswith("…")
        frame = bytes.fromhex(data.removesuffix("…"))
        steps.append((step[0], frame, cut, payload[0] if payload else None))
    return steps


WIRE = wire_steps(blocks(read("protocol.md"), "wire")[0])


@pytest.mark.parametrize(("sign", "frame", "cut", "text"), WIRE)
def test_docs_session_shows_true_bytes(
    sign: str, frame: bytes, cut: bool, text: str | None
) -> None:
    """Each frame of the worked session says what stands below it."""
    if text is None:
        assert frame[0] in (0x88, 0x89, 0x8A)
        return
    payload = text.encode()
    if sign == ">":
        assert FrameReader(65_536, inflate=True).feed(frame) == [Message(1, payload)]
    elif frame[0] & 0x40:
        inflated = zlib.decompressobj(-15).decompress(frame[4:] + b"\x00\x00\xff\xff")
        assert inflated == payload
    else:
        assert text_frame(payload) == (frame + payload if cut else frame)


def test_docs_handshake_is_answered_as_shown() -> None:
    """The request of the worked session gets exactly the answer below it."""
    request, answer = blocks(read("protocol.md"), "http")[0].strip().split("\n\n")
    headers = [
        (name.encode(), value.encode())
        for name, value in (line.split(": ", 1) for line in request.splitlines()[1:])
    ]

    accepted = accept_handshake("GET", (1, 1), headers, HandshakePolicy())

    assert accepted.response.decode() == answer.replace("\n", "\r\n") + "\r\n\r\n"


async def test_docs_resume_rules_hold(
    embedded_url: str, start_worker: harness.StartWorker, room: str
) -> None:
    """A position is continued where it can be, and else the viewer is told and given a snapshot."""
    worker = await start_worker(embedded_url)
    await worker.open_room(room)
    host = await worker.control(room)
    await host.ask("room.update", title="one")
    before = (await host.event("room.updated", title="one"))["seq"] - 1
    here = {"epoch": host.hello["epoch"], "seq": before, "sub": 0}

    async def back(**changes: Any) -> dict[str, Any]:
        return (await worker.join(room, resume=here | changes)).hello

    assert (await back())["resumed"] is True
    assert (await back())["seq"] == before
    assert (await back(seq=before + 1))["resumed"] is True
    assert (await back(seq=before + 2))["resumed"] is False
    assert (await back(epoch="another"))["resumed"] is False
    assert (await back(epoch="another"))["snapshot"] == {"danmaku": []}


# References from one document to another, and to tests.


def documents() -> list[Path]:
    """Return all documents."""
    return sorted(DOCS.rglob("*.md"))


def test_docs_name_tests_that_exist() -> None:
    """A promise that names a test is held by that test."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    named = {
        name
        for path in documents()
        for name in re.findall(r"`(test_\w+)`", path.read_text(encoding="utf-8"))
    }

    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_docs_name_files_that_exist() -> None:
    """A path in a document leads to a file, save for the one that `make bench` writes."""
    named = {
        name
        for path in documents()
        for name in re.findall(r"`((?:docs|engine|tests)/[\w./-]+)`", path.read_text("utf-8"))
    }

    assert {name for name in named - {"docs/benchmarks.md"} if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_docs_links_inside_a_document_lead_somewhere(path: Path) -> None:
    """Every `#anchor` is a heading."""
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in headings}

    assert set(re.findall(r"\]\(#([^)]*)\)", text)) - anchors == set()


@pytest.mark.parametrize(
    ("language", "source"), [("python", "docs/python-sdk.md"), ("js", "clients/js/README.md")]
)
def test_docs_clients_of_the_readme_are_those_that_are_run(language: str, source: str) -> None:
    """The README's clients stand in the SDKs' documents too, whose examples tests run."""
    (shown,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), language)
    assert shown == blocks((ROOT / source).read_text(encoding="utf-8"), language)[0]


def test_docs_links_of_the_readme_lead_to_files() -> None:
    """What the README shows and names is there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!http)([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    assert [name for name in named if not (ROOT / name).exists()] == []
