"""Log lines: one line each, no secrets, never an exception of their own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest
import structlog
from hypothesis import given, settings, strategies as st

from liveroom.log import MASK, Masker, printable, processors


SECRET = "s3cr3t-of-the-engine-0123456789"


class _Lines:
    """Takes what a logger writes."""

    name = "liveroom.test"

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def msg(self, line: bytes) -> None:
        self.lines.append(line)

    info = error = warning = msg


def _raise(text: str) -> None:
    raise ValueError(text)


def _logger(form: str, secrets: tuple[str, ...] = (), **fields: Any) -> tuple[Any, _Lines]:
    sink = _Lines()
    steps = processors(form, secrets, fields)
    wrapper = structlog.make_filtering_bound_logger(10)
    return structlog.wrap_logger(sink, processors=steps, wrapper_class=wrapper), sink


def _line(form: str, *secrets: str, **values: Any) -> str:
    logger, sink = _logger(form, secrets)
    logger.info("event", **values)
    (line,) = sink.lines
    return line.decode()


def test_log_json_line_holds_what_was_said() -> None:
    """Time, level, event, the logger's name, the process's fields and the values are there."""
    logger, sink = _logger("json", worker=3)
    logger.warning("room not subscribed", room="r1", attempt=2)
    said = json.loads(sink.lines[0])
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "level": "warning",
        "event": "room not subscribed",
        "logger": "liveroom.test",
        "worker": 3,
        "room": "r1",
        "attempt": 2,
    }


@pytest.mark.parametrize(
    "key", ["token", "jwt_secret", "Password", "Authorization", "api_key", "cookie", "resume_token"]
)
def test_log_value_of_a_secret_key_is_masked(key: str) -> None:
    """Whatever stands under such a key, nested too, is not shown."""
    for form in ("json", "console"):
        line = _line(form, headers={key: [SECRET, 1]}, **{key: SECRET})
        assert SECRET not in line
        assert MASK in line


@pytest.mark.parametrize(
    "text",
    [
        f"cannot reach redis://app:{SECRET}@10.0.0.1:6379/0",
        f"cannot reach redis+cluster://:{SECRET}@a:1,b:2",
        f"GET /ws?room=r1&token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"said eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.{SECRET}",
    ],
)
def test_log_secret_is_masked_by_its_form(text: str) -> None:
    """Passwords in URLs, tokens in queries and headers, and JWTs are found inside any text."""
    line = _line("json", error=text)
    assert SECRET not in line
    assert MASK in line


def test_log_known_secret_is_masked_wherever_it_stands() -> None:
    """In the event, in a key's value, in an object's repr and in a traceback."""
    logger, sink = _logger("json", (SECRET,))
    try:
        _raise(f"bad: {SECRET}")
    except ValueError as exc:
        logger.exception(SECRET, error=exc, data=SECRET.encode(), path={1: SECRET})
    line = sink.lines[0].decode()
    assert SECRET not in line
    assert "ValueError: bad: ***" in json.loads(line)["exception"]


def test_log_traceback_shows_no_local_variables() -> None:
    """The traceback is the plain one: what a local variable held is not in it."""
    logger, sink = _logger("json")

    def fail(password: str) -> None:
        raise RuntimeError("broken")

    try:
        fail(SECRET)
    except RuntimeError:
        logger.exception("failed")
    line = sink.lines[0].decode()
    assert "RuntimeError: broken" in line
    assert SECRET not in line


def test_log_console_spells_out_line_ends_and_escapes() -> None:
    """A user's name can neither begin a line of its own nor colour the terminal."""
    evil = "bob\n12:00:00 error  store lost\x1b[2J\x9b31m\u202e"
    line = _line("console", user=evil, nested=[evil])
    assert line.isprintable()
    assert r"bob\n12:00:00 error  store lost\x1b[2J\x9b31m\u202e" in line


def test_log_console_traceback_lines_are_indented() -> None:
    """Lines of a traceback cannot be taken for log lines, whatever the exception says."""
    logger, sink = _logger("console")
    try:
        _raise("one\n12:00:00 error  two\x1b[2J")
    except ValueError:
        logger.exception("failed")
    first, *rest = sink.lines[0].decode().split("\n")
    assert first.endswith("failed")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


@pytest.mark.parametrize("form", ["json", "console"])
def test_log_unusual_values_do_not_lose_the_line(form: str) -> None:
    """Lone surrogates, huge numbers, broken reprs and endless nesting end up in a line."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    line = _line(form, a="\ud800", b=1 << 80, c=Broken(), d=endless, e=float("nan"), f={1: {2}})
    assert "event" in line
    assert "Broken" in line


def test_log_long_text_is_cut_after_masking() -> None:
    """A line has a bounded length, and the cut leaves no half of a secret."""
    line = _line("json", SECRET, text="x" * 4090 + SECRET + "y" * 100_000)
    assert len(line) < 6000
    assert SECRET[:8] not in line


@settings(max_examples=150)
@given(st.text(), st.sampled_from(["json", "console"]))
def test_log_any_text_makes_one_line(text: str, form: str) -> None:
    """Whatever a user writes, a line is one line."""
    line = _line(form, text=text)
    assert "\n" not in line
    if form == "json":
        assert json.loads(line)["event"] == "event"


@settings(max_examples=150)
@given(st.text(), st.text())
def test_log_known_secret_never_comes_through(before: str, after: str) -> None:
    """Whatever stands around it."""
    assert SECRET not in Masker([SECRET]).text(before + SECRET + after)


def test_log_printable_leaves_ordinary_text_alone() -> None:
    """Chinese text and emoji are shown as they are."""
    assert printable("主播 🎁 says hi") == "主播 🎁 says hi"


def test_log_setup_takes_the_standard_librarys_records_and_a_closed_reader() -> None:
    """A library's record has the same form; a reader that has gone does not stop the process."""
    code = (
        "import logging, structlog, sys\n"
        "from liveroom.log import setup\n"
        f"setup('info', 'auto', secrets=['{SECRET}'], worker=1)\n"
        f"logging.getLogger('aiohttp.server').error('bad %s', '{SECRET}')\n"
        "logging.getLogger('asyncio').log(25, 'between levels')\n"
        "structlog.get_logger('liveroom.x').debug('unseen')\n"
        "sys.stderr.close()\n"
        "structlog.get_logger('liveroom.x').info('nobody reads this')\n"
        "print('alive')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True
    )
    first, second = map(json.loads, done.stderr.splitlines())
    assert (first["event"], first["logger"], first["worker"]) == ("bad ***", "aiohttp.server", 1)
    assert second["level"] == "info"
    assert done.stdout == "alive\n"


def test_log_strangers_cannot_fill_it_with_broken_requests() -> None:
    """What the HTTP parser says of bytes that came is no error of ours; a fault of ours is."""
    code = (
        "import logging, sys\n"
        "from aiohttp import http_exceptions, web\n"
        "from liveroom.log import setup\n"
        "setup(sys.argv[1], 'json')\n"
        "server = logging.getLogger('aiohttp.server')\n"
        "for error in (http_exceptions.BadStatusLine('x'), web.RequestPayloadError('y'), KeyError('z')):\n"
        "    server.error('Error handling request', exc_info=error)\n"
    )

    def said(level: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, level],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return [json.loads(line)["level"] for line in done.stderr.splitlines()]

    assert said("info") == ["error"]
    assert said("debug") == ["debug", "debug", "error"]


def test_log_sink_survives_a_broken_pipe() -> None:
    """Writing to a stream that fails is dropped without a word."""
    from liveroom.log import _Sink

    class Gone(io.BytesIO):
        def write(self, data: Any) -> int:
            raise BrokenPipeError

    _Sink(Gone(), "x").msg(b"line")
