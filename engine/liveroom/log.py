"""Log lines: structured, without secrets, safe to look at in a terminal (layer 0).

Every line is one JSON object or one line of text, whatever a user put into a name or a message.
Tracebacks are plain text without local variables. Values that look like secrets by their key, by
their form or by being one of the engine's own are replaced before anything is written.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, BinaryIO

import orjson
import structlog


__all__ = ["MASK", "Masker", "names_secret", "printable", "processors", "setup"]

MASK = "***"

Event = MutableMapping[str, Any]
Processor = Callable[[Any, str, Event], Any]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRET_KEY = re.compile(
    r"token|secret|passw|authori[sz]ation|cookie|credential|api_?key|private_?key", re.IGNORECASE
)
# What a secret looks like wherever it stands: the password of a URL or in its query, a JWT.
_SECRET_FORMS = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s/]+(?=@)", re.IGNORECASE), r"\1" + MASK),
    (re.compile(r"([?&](?:password|token|secret)=)[^&\s\"']+", re.IGNORECASE), r"\1" + MASK),
    (re.compile(r"(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE), r"\1" + MASK),
    (re.compile(r"\beyJ[\w-]{6,}\.[\w-]+\.[\w-]*"), MASK),
)
_PARSING = ("aiohttp.http_exceptions", "aiohttp.web_protocol")
_MAX_DEPTH = 5
_MAX_TEXT = 4096
_MAX_TRACEBACK = 32_768


def setup(level: str, form: str, *, secrets: Iterable[str] = (), **fields: Any) -> None:
    """Send structlog's and the standard library's records to standard error.

    Args:
        level: debug, info, warning or error.
        form: json, console, or auto: console on a terminal.
        secrets: texts that no line may hold.
        fields: what every line of this process says, such as `worker=0`.
    """
    stream, terminal = sys.stderr.buffer, sys.stderr.isatty()
    if form == "auto":
        form = "console" if terminal else "json"
    structlog.configure(
        processors=processors(form, secrets, fields, colors=terminal),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *names: _Sink(stream, *names),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(max(_LEVELS[level], logging.INFO))


def processors(
    form: str,
    secrets: Iterable[str] = (),
    fields: Mapping[str, Any] | None = None,
    *,
    colors: bool = False,
) -> list[Processor]:
    """Return the steps from an event to the bytes of its line.

    Args:
        form: json or console.
        secrets: texts to keep out.
        fields: what every line says.
        colors: whether a console line is coloured.
    """
    return [
        structlog.contextvars.merge_contextvars,
        _adder(fields or {}),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_traceback,
        Masker(secrets),
        _Console(colors=colors) if form == "console" else _to_json,
    ]


def names_secret(name: str) -> bool:
    """Tell whether what has this name is kept out of every line."""
    return _SECRET_KEY.search(name) is not None


class Masker:
    """Replaces secrets, and makes plain data of everything else: no object's repr comes later."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        longest_first = sorted({text for text in secrets if text}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        """Return the event with its secrets replaced."""
        return {str(key): self._value(str(key), value, 0) for key, value in event.items()}

    def text(self, text: str, limit: int = _MAX_TEXT) -> str:
        """Return a text with its secrets replaced, cut to a length."""
        # Masked before it is cut: half a secret would not be recognised.
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for form, replacement in _SECRET_FORMS:
            text = form.sub(replacement, text)
        return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if names_secret(key):
            return MASK
        if isinstance(value, int | float):
            return value
        if isinstance(value, str):
            return self.text(value, _MAX_TRACEBACK if key == "exception" else _MAX_TEXT)
        return self._compound(key, value, depth)

    def _compound(self, key: str, value: Any, depth: int) -> Any:
        if depth >= _MAX_DEPTH:
            return "…"
        if isinstance(value, Mapping):
            return {str(k): self._value(str(k), v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(key, item, depth + 1) for item in value]
        return self.text(_describe(value))


def _describe(value: Any) -> str:
    """Return what stands for an object; a broken repr must not lose the line."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode(errors="replace")
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception as exc:  # noqa: BLE001 -- whatever it raises
        return f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"


def _adder(fields: Mapping[str, Any]) -> Processor:
    def add(logger: Any, method: str, event: Event) -> Event:
        name = getattr(logger, "name", "")
        return {**({"logger": name} if name else {}), **fields, **event}

    return add


def _add_traceback(logger: Any, method: str, event: Event) -> Event:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def _to_json(logger: Any, method: str, event: Event) -> bytes:
    event = {name: event.pop(name, None) for name in ("timestamp", "level", "event")} | {**event}
    try:
        return orjson.dumps(event)
    except TypeError:  # lone surrogates, integers over 64 bits
        return orjson.dumps({printable(key): printable(str(v)) for key, v in event.items()})


class _Console:
    """One line of text per event; a traceback follows on lines of its own."""

    _COLORS = {"debug": 36, "info": 32, "warning": 33, "error": 31, "critical": 31}  # noqa: RUF012 -- a table

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors

    def __call__(self, logger: Any, method: str, event: Event) -> bytes:
        """Return the line."""
        out = io.StringIO()
        level = str(event.pop("level", method))
        exception = event.pop("exception", "")
        event.pop("logger", None)
        clock = str(event.pop("timestamp", ""))[11:23]
        out.write(
            f"{clock} {self._paint(f'{level:<7}', level)} {printable(event.pop('event', ''))}"
        )
        for key, value in event.items():
            out.write(f"  {printable(key)}={printable(value)}")
        for line in str(exception).splitlines():
            out.write(f"\n    {printable(line)}")
        return out.getvalue().encode()

    def _paint(self, text: str, level: str) -> str:
        return f"\x1b[{self._COLORS.get(level, 0)}m{text}\x1b[0m" if self._colors else text


def printable(value: Any) -> str:
    """Return a value as text in which line ends, escapes and invisible marks are spelled out."""
    text = value if isinstance(value, str) else str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Sink:
    """Writes whole lines; a reader that has gone must not stop the engine."""

    _lock = threading.Lock()

    def __init__(self, stream: BinaryIO, name: str = "", *_: Any) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: bytes) -> None:
        """Write one line at once, so that lines of several processes do not mix."""
        try:
            with self._lock:
                self._stream.write(line + b"\n")
                self._stream.flush()
        except (OSError, ValueError):  # closed
            return

    log = debug = info = warning = warn = error = critical = exception = fatal = msg


def _is_about_a_request(record: logging.LogRecord) -> bool:
    """Tell whether the HTTP server complains of what a stranger sent, who could fill the log so."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name == "aiohttp.server" and type(error).__module__ in _PARSING


class _Bridge(logging.Handler):
    """Gives the records of the standard library's loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it again."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 -- a library's wrong format string
            text = str(record.msg)
        level = min(max(record.levelno // 10, 1), 5) * 10  # structlog knows only the usual ones
        if _is_about_a_request(record):
            level = logging.DEBUG
        structlog.get_logger(record.name).log(level, text, exc_info=record.exc_info or None)
