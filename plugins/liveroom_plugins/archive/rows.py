"""From items to rows: persons apart from what happened, so that they can be erased later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from liveroom import LogEntry


__all__ = ["PERSONAL", "danmaku_row", "event_row", "joined", "minute_rows", "record_row", "split"]

PERSONAL: Final = frozenset(
    {"user", "users", "by", "sender", "buyer", "winner", "reservation", "taken"}
)
"""Fields that say who it was, wherever they stand in a body; a reservation's name holds the user's."""

_MOST: Final = 10**14

Row = dict[str, Any]


def event_row(room: str, epoch: str, session: int, entry: LogEntry) -> Row:
    """Return the row of a durable event. What cannot be read is kept as the text that it is."""
    item = _item(entry)
    body, people = split(item["d"])
    user, name = _actor(item["d"])
    return {
        "room": room,
        "epoch": epoch,
        "seq": entry.seq,
        "sub": entry.sub,
        "ts": item["ts"],
        "session": session,
        "name": _text(item["ev"]),
        "recipient": entry.user,
        "user": user or _person(entry.user),
        "user_name": name,
        "body": body,
        "people": people or None,
    }


def danmaku_row(room: str, session: int, d: Mapping[str, Any], ts: int) -> Row:
    """Return the row of a message as it was published."""
    user, name = _actor(d)
    extra = {key: value for key, value in d.items() if key not in ("id", "user", "text")}
    person = d.get("user")
    if isinstance(person, dict):
        extra["user"] = {k: v for k, v in person.items() if k not in ("id", "name")}
    return {
        "room": room,
        "id": _text(d["id"]),
        "ts": ts,
        "session": session,
        "user": user,
        "user_name": name,
        "text": _text(d["text"]),
        "extra": extra,
        "deleted_ms": None,
        "deleted_by": None,
    }


def record_row(room: str, session: int, name: str, record: Mapping[str, Any]) -> Row:
    """Return the row of what a plugin handed over; it may know better to which session it belongs."""
    user = record.get("user")
    fields = {k: v for k, v in record.items() if k not in ("ts", "kind", "user", "session")}
    body, people = split(fields)
    return {
        "room": room,
        "id": name,
        "ts": record["ts"],
        "session": record.get("session", session),
        "kind": _text(record["kind"]),
        "user": _text(user) if user else None,
        "body": body,
        "people": people or None,
    }


def minute_rows(event: Row) -> Iterable[Row]:
    """Yield the figures of a minute, if this is an event between workers that tells of one.

    Its name ends with `.minute`; its body has the session, the minute's number in it, and figures.
    """
    if not (event["name"].endswith(".minute") and (event["recipient"] or "").startswith("~")):
        return
    body: dict[str, Any] = event["body"] if isinstance(event["body"], dict) else {}
    session: Any = body.get("session")
    minute: Any = body.get("minute")
    if not (_is_count(session) and _is_count(minute)):
        return
    for name, value in body.items():
        if name not in ("session", "minute") and isinstance(value, int | float):
            yield {
                "room": event["room"],
                "minute_ms": session + minute * 60_000,
                "name": name,
                "session": session,
                "value": float(value),
            }


def split(d: Any) -> tuple[Any, dict[str, Any]]:
    """Return a body without its persons, and these by their paths (`top/0/user`)."""
    people: dict[str, Any] = {}
    return _without(d, "", people), people


def joined(body: Any, people: Mapping[str, Any] | None) -> Any:
    """Return the body with the persons where they were; the reverse of `split`."""
    for path, value in (people or {}).items():
        *way, last = path.split("/")
        place = body
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[_plain(step)]
        place[_plain(last)] = value
    return body


def _without(value: Any, path: str, people: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_without(item, f"{path}{i}/", people) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    left = {}
    for key, inner in value.items():
        # Beside a user's id a name is that user's; elsewhere it may be a product's.
        if key in PERSONAL or (key == "name" and isinstance(value.get("user"), str)):
            people[path + _quoted(key)] = inner
        else:
            left[key] = _without(inner, f"{path}{_quoted(key)}/", people)
    return left


def _quoted(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _plain(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")


def _actor(d: Any) -> tuple[str | None, str | None]:
    """Return the id and the name of whom a body is about."""
    if not isinstance(d, dict):
        return None, None
    person: Any = d.get("user")
    who, name = person, d.get("name")
    if isinstance(person, dict):
        who, name = person.get("id"), person.get("name")
    elif person is None:
        who, name = d.get("by"), None
    if not isinstance(who, str):
        return None, None
    return _text(who), _text(name) if name else None


def _person(recipient: str | None) -> str | None:
    """Return the user whom an event was for; workers have names that no user can have."""
    return None if recipient is None or recipient.startswith("~") else recipient


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _item(entry: LogEntry) -> dict[str, Any]:
    try:
        item = orjson.loads(entry.item)
        return {"ev": str(item["ev"]), "ts": int(item["ts"]), "d": item["d"]}
    except (ValueError, KeyError, TypeError):
        return {"ev": "unreadable", "ts": 0, "d": {"text": entry.item.decode(errors="replace")}}


def _text(value: Any) -> str:
    return str(value).replace("\0", "")  # PostgreSQL's text holds every character but this
