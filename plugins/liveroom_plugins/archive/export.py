"""Sessions as files: CSV, JSON lines, Parquet. Their columns are fixed."""

from __future__ import annotations

import csv
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import orjson
from sqlalchemy import Connection

from liveroom import ConfigError
from liveroom_plugins.archive.reading import (
    Session,
    danmaku_of,
    events_of,
    find_session,
    minutes_of,
    reading,
    records_of,
)


__all__ = ["COLUMNS", "FORMATS", "export_session"]

Row = dict[str, Any]

_INT, _TEXT, _REAL, _JSON = "int", "text", "real", "json"
COLUMNS: Final[dict[str, dict[str, str]]] = {
    "events": {
        "room": _TEXT, "session": _INT, "epoch": _TEXT, "seq": _INT, "sub": _INT, "ts": _INT,
        "name": _TEXT, "recipient": _TEXT, "user": _TEXT, "user_name": _TEXT, "body": _JSON,
    },
    "danmaku": {
        "room": _TEXT, "session": _INT, "id": _TEXT, "ts": _INT, "user": _TEXT, "user_name": _TEXT,
        "text": _TEXT, "extra": _JSON, "deleted_ms": _INT, "deleted_by": _TEXT,
    },
    "records": {
        "room": _TEXT, "session": _INT, "id": _TEXT, "ts": _INT, "kind": _TEXT, "user": _TEXT,
        "body": _JSON,
    },
    "minutes": {
        "room": _TEXT, "session": _INT, "minute_ms": _INT, "name": _TEXT, "value": _REAL,
    },
}  # fmt: skip
"""What a file has, in order."""

_READERS: Final[dict[str, Callable[[Connection, Session], Iterator[Row]]]] = {
    "events": events_of,
    "danmaku": danmaku_of,
    "records": records_of,
    "minutes": minutes_of,
}
_FORMULA: Final = tuple("=+-@\t\r\n＝＋－＠")  # spreadsheets may read the wide ones alike
_GROUP: Final = 20_000  # rows of Parquet that are held in memory


def export_session(
    url: str, session: str | None, room: str | None, what: str, form: str, out: Path | None
) -> Session:
    """Write a session to a file or to standard output; return which one it was.

    Args:
        url: of the archive.
        session: its name; None: the newest of the room.
        room: a room.
        what: events, danmaku, records or minutes.
        form: csv, jsonl or parquet.
        out: the file, which is replaced when all of it is written; None: standard output.

    Raises:
        ConfigError: there is no such archive or session, or the format needs what is not installed.
        StoreError: the archive could not be read.
    """
    write = FORMATS[form]
    columns = COLUMNS[what]
    if form == "parquet":
        _pyarrow()  # before anything is opened
    with reading(url) as connection:
        found = find_session(connection, session, room)
        rows = ({name: row[name] for name in columns} for row in _READERS[what](connection, found))
        with _opened(out) as file:
            write(file, columns, rows)
    return found


def _write_csv(file: IO[bytes], columns: dict[str, str], rows: Iterable[Row]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_cell(kind, row[name]) for name, kind in columns.items())
    text.detach()


def _cell(kind: str, value: Any) -> Any:
    if value is None:
        return ""
    if kind == _JSON:
        return orjson.dumps(value).decode()
    if kind == _TEXT:  # what a viewer wrote must not be run by whoever opens the file
        return f"'{value}" if value.startswith(_FORMULA) else value
    return _number(value) if kind == _REAL else value


def _write_jsonl(file: IO[bytes], columns: dict[str, str], rows: Iterable[Row]) -> None:
    reals = [name for name, kind in columns.items() if kind == _REAL]
    for row in rows:
        for name in reals:
            row[name] = _number(row[name])
        file.write(orjson.dumps(row) + b"\n")


def _number(value: float) -> float:
    """Return what was counted as a whole number."""
    return int(value) if value.is_integer() else value


def _write_parquet(file: IO[bytes], columns: dict[str, str], rows: Iterable[Row]) -> None:
    pa, parquet = _pyarrow()
    types = {
        _INT: pa.int64(),
        _TEXT: pa.string(),
        _REAL: pa.float64(),
        _JSON: pa.string(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    jsons = [name for name, kind in columns.items() if kind == _JSON]
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        source = iter(rows)
        while group := list(itertools.islice(source, _GROUP)):
            for row, name in itertools.product(group, jsons):
                row[name] = orjson.dumps(row[name]).decode()
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as exc:
        expected = "pyarrow for Parquet: pip install 'liveroom[parquet]'"
        raise ConfigError("format", expected, "an installation without it") from exc
    return pa, parquet


FORMATS: Final[dict[str, Callable[[IO[bytes], dict[str, str], Iterable[Row]], None]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(out)
    except OSError as exc:
        raise ConfigError("out", "a file that can be written", str(exc)) from exc
    finally:
        part.unlink(missing_ok=True)
