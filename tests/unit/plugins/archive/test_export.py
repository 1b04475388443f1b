"""Sessions as files: the golden files say what each format looks like."""

from __future__ import annotations

import csv
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Connection

from liveroom import ConfigError, LogEntry
from liveroom.cli import cli
from liveroom_plugins.archive.cursor import Change, Cursor, Page
from liveroom_plugins.archive.database import connect
from liveroom_plugins.archive.export import COLUMNS, export_session
from liveroom_plugins.archive.reading import reading, records
from liveroom_plugins.archive.rows import danmaku_row, event_row, record_row
from liveroom_plugins.archive.schema import danmaku, migrate, records as handed
from liveroom_plugins.archive.writing import store_fleeting, store_page


GOLDEN = Path(__file__).parent / "golden"
EPOCH = "1000-0123abcd"
ITEMS = (
    (1, 0, None, '{"ev":"room.opened","seq":1,"ts":1000,"d":{"title":"Spring, sale","by":"host"}}'),
    (
        2, 0, None,
        (
            '{"ev":"gift.sent","seq":2,"ts":2000,"d":{"gift":"rose","n":2,"combo":2,'
            '"combo_end":false,"value":200,"user":{"id":"u1","name":"Ann \\"A\\""}}}'
        ),
    ),
    (2, 1, "u1", '{"ev":"lottery.won","seq":2,"sub":1,"ts":2500,"d":{"lottery":"l1","prize":"cup"}}'),
    (
        2, 2, "~counters",
        (
            '{"ev":"counters.minute","seq":2,"sub":2,"ts":62000,"d":{"session":1000,"minute":0,'
            '"likes":7,"online_s":61.5}}'
        ),
    ),
    (3, 0, None, '{"ev":"room.closed","seq":3,"ts":70000,"d":{"by":"host"}}'),
    (4, 0, None, '{"ev":"danmaku.deleted","seq":4,"ts":71000,"d":{"by":"mod","ids":["w-2"]}}'),
)  # fmt: skip
SAID = (
    ("w-1", 1500, "第一次来\n=1+1"),
    ("w-2", 2000, "hello"),
)


def fill(connection: Connection) -> None:
    """Write a session of every kind of row."""
    migrate(connection)
    rows = [
        event_row("demo", EPOCH, 1000, LogEntry(seq, sub, user, item.encode()))
        for seq, sub, user, item in ITEMS
    ]
    end = Cursor(EPOCH, 4, 0, 6, "digest", "", 1000)
    changes = [Change(1000, "Spring, sale", 70000)]
    store_page(connection, "demo", Cursor(), Page(end, rows, changes, []), 0)
    user = {"id": "u1", "name": "Ann", "role": "viewer"}
    said = [
        danmaku_row("demo", 1000, {"id": name, "user": user, "text": text, "mode": "top"}, ts)
        for name, ts, text in SAID
    ]
    store_fleeting(connection, danmaku, said, [], 0)
    act = {"ts": 1700, "kind": "like", "user": "u1", "source": "feed", "n": 3}
    store_fleeting(connection, handed, [record_row("demo", 1000, "w-1", act)], [], 0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An archive with one session."""
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    engine = connect(url, write=True)
    with engine.begin() as connection:
        fill(connection)
    engine.dispose()
    return url


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("what", COLUMNS)
def test_export_text_formats_are_golden(url: str, tmp_path: Path, what: str, form: str) -> None:
    """Columns, their order, quoting and empty fields stay as they are."""
    out = tmp_path / "out"

    export_session(url, "demo@1000", None, what, form, out)

    assert out.read_text("utf-8") == (GOLDEN / f"{what}.{form}").read_text("utf-8")


@pytest.mark.parametrize("said", ['=HYPERLINK("//evil")', "+1", "-1", "@SUM(A1)", "\t=1", "＝1"])
def test_export_csv_holds_nothing_that_a_spreadsheet_runs(
    url: str, tmp_path: Path, said: str
) -> None:
    """An apostrophe makes it text there; the formats for programs hold what was said."""
    engine, out = connect(url, write=True), tmp_path / "out"
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE danmaku SET text = ?, user_name = ?", (said, said))
    engine.dispose()

    export_session(url, "demo@1000", None, "danmaku", "csv", out)
    with out.open(encoding="utf-8", newline="") as file:
        shown = [(row["text"], row["user_name"]) for row in csv.DictReader(file)]
    export_session(url, "demo@1000", None, "danmaku", "jsonl", out)
    kept = [json.loads(line)["text"] for line in out.read_text("utf-8").splitlines()]

    assert shown == [(f"'{said}", f"'{said}")] * 2
    assert kept == [said] * 2


@pytest.mark.parametrize("what", COLUMNS)
def test_export_parquet_holds_the_same_rows(url: str, tmp_path: Path, what: str) -> None:
    """The types are fixed, and what is JSON is text."""
    parquet = pytest.importorskip("pyarrow.parquet")
    orjson = pytest.importorskip("orjson")
    out = tmp_path / "out.parquet"

    export_session(url, "demo@1000", None, what, "parquet", out)

    table = parquet.read_table(out)
    golden = (GOLDEN / f"{what}.jsonl").read_bytes().splitlines()
    jsons = {"body", "extra"} & set(table.column_names)
    found = [row | {name: orjson.loads(row[name]) for name in jsons} for row in table.to_pylist()]
    assert found == [orjson.loads(line) for line in golden]
    kinds = {"int": "int64", "text": "string", "json": "string", "real": "double"}
    assert [(f.name, str(f.type)) for f in table.schema] == [
        (name, kinds[kind]) for name, kind in COLUMNS[what].items()
    ]


def test_export_parquet_without_pyarrow_says_what_to_install(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no file is made."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "out.parquet"

    with pytest.raises(ConfigError, match=r"pip install 'liveroom\[parquet\]'"):
        export_session(url, "demo@1000", None, "events", "parquet", out)

    assert not out.exists()


def test_export_that_fails_leaves_the_old_file(url: str, tmp_path: Path) -> None:
    """The file is replaced when all of it is written."""
    out = tmp_path / "out"
    out.write_text("old")
    engine = connect(url, write=True)
    with engine.begin() as connection:  # a column that is no JSON
        connection.exec_driver_sql("UPDATE events SET body = 'x' WHERE name = 'room.closed'")
    engine.dispose()

    with pytest.raises(ValueError, match="unexpected"):
        export_session(url, "demo@1000", None, "events", "csv", out)

    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"]


def run(*args: str, **env: str | None) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["export", *args], env={"LIVEROOM_DATA": None} | env)


def test_export_command_writes_to_standard_output(url: str) -> None:
    """By name, by room, and from the settings' archive."""
    golden = (GOLDEN / "events.csv").read_text("utf-8")

    by_name = run("demo@1000", "--archive", url)
    by_room = run("--room", "demo", LIVEROOM_PLUGIN_ARCHIVE_URL=url)

    assert (by_name.exit_code, by_name.output) == (0, golden)
    assert (by_room.exit_code, by_room.output) == (0, golden)


@pytest.mark.parametrize(
    ("args", "status", "expected"),
    [
        ((), 2, "either SESSION or --room"),
        (("demo@1000", "--room", "demo"), 2, "either SESSION or --room"),
        (("demo@999",), 2, "demo@1000"),
        (("other@1",), 2, "such as demo@"),
        (("--room", "other"), 2, "such as demo@"),
        (("demo@1000", "--format", "parquet"), 2, "Parquet is not written to standard output"),
        (("demo@1000", "--format", "xml"), 2, "xml"),
        (("demo@1000", "--out", "/no/such/folder/x"), 2, "a file that can be written"),
        (("demo@1000", "--archive", "sqlite:////no/such/file"), 2, "the file of an archive"),
        (("demo@1000", "--archive", "postgresql:///x?host=/nowhere"), 1, "cannot be read"),
        (("demo@1000", "--archive", "mongodb://x"), 2, "postgresql://"),
    ],
)
def test_export_command_refuses_with_a_sentence(
    url: str, args: tuple[str, ...], status: int, expected: str
) -> None:
    """No traceback, and the status says whose fault it was."""
    given = args if "--archive" in args else (*args, "--archive", url)

    result = run(*given)

    assert result.exit_code == status, result.output
    assert expected in result.output
    assert "Traceback" not in result.output


def test_export_records_are_in_the_archives_order(url: str) -> None:
    """Events in the order of the log, messages by their time among them, each as it was sent."""
    found = list(records(url, "demo@1000"))

    kinds = [record["kind"] for record in found]
    assert kinds == [
        "room.opened", "danmaku", "like", "gift.sent", "danmaku", "lottery.won", "counters.minute", "room.closed",
        "danmaku.deleted",
    ]  # fmt: skip
    assert found[2] == {"ts": 1700, "kind": "like", "user": "u1", "source": "feed", "n": 3}
    gift: dict[str, Any] = found[3]
    assert (gift["ts"], gift["user"], gift["name"], gift["to"]) == (2000, "u1", 'Ann "A"', None)
    assert gift["d"]["user"] == {"id": "u1", "name": 'Ann "A"'}
    assert (found[1]["id"], found[1]["d"]["text"]) == ("w-1", "第一次来\n=1+1")
    deleted = [(found[i]["deleted_ms"], found[i]["deleted_by"]) for i in (1, 4)]
    assert deleted == [(None, None), (71000, "mod")]


def test_export_reads_while_the_engine_writes(url: str) -> None:
    """A long export neither waits for a transaction nor holds one up."""
    engine = connect(url, write=True)
    with engine.begin() as connection:
        write = partial(store_fleeting, connection, danmaku, [], [], 0)
        write()
        with reading(url) as reader:
            assert reader.exec_driver_sql("SELECT count(*) FROM events").scalar() == len(ITEMS)
    engine.dispose()
