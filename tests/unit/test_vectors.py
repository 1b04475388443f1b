"""The engine against the golden vectors (tests/vectors/README.md says what each file means)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveroom.asyncapi import shipped_manager
from liveroom.core.position import Position
from liveroom.core.ring import Ring
from liveroom.errors import CLOSES, CommandError
from liveroom.front import SYSTEM_BODIES
from liveroom.protocol.codec import CommandDecoder, Incoming
from liveroom.protocol.frame_builder import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    binary_frame,
    close_frame,
    deflated_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from liveroom.protocol.frame_reader import Close, Frame, FrameReader, Message, Ping, Pong
from liveroom.protocol.items import Item, event_item, frame_of, refusal_item, reply_item


FOLDER = Path(__file__).parents[1] / "vectors"
JSON, MSGPACK = 0, 1


def load(name: str) -> Any:
    """Return the content of one vector file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


CLIENT = load("client_messages.json")
ITEMS = load("server_items.json")
FRAMES = load("frames.json")
RECONNECT = load("reconnect.json")
POSITIONS = load("positions.json")


def named(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Run a test once per case, under the case's name."""
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


# Client messages.


def seen(incoming: Incoming) -> dict[str, Any]:
    """Return a decoded command as the vectors write it."""
    if incoming.error is not None:
        return {"op": incoming.op, "id": incoming.id, "error": incoming.error.code.name}
    assert incoming.command is not None
    d = msgspec.to_builtins(incoming.command.d)
    return {"op": incoming.op, "id": incoming.id, "key": incoming.key, "d": d}


@named(CLIENT["cases"])
def test_client_message_decodes_as_pinned(case: dict[str, Any]) -> None:
    """Both encodings of a message give the same commands, or the same refusal."""
    bodies = SYSTEM_BODIES | {op: b.spec.body for op, b in shipped_manager().commands.items()}
    decoder = CommandDecoder(bodies, CLIENT["max_commands"])
    forms = [(case[c].encode(), False) for c in ("json",) if c in case]
    forms += [(bytes.fromhex(case[c]), True) for c in ("msgpack",) if c in case]

    assert forms
    for data, binary in forms:
        if "error" in case:
            with pytest.raises(CommandError) as refused:
                decoder.decode(data, binary=binary)
            assert refused.value.code.name == case["error"]
        else:
            assert [seen(one) for one in decoder.decode(data, binary=binary)] == case["expect"]


# Server items.


def made(item: dict[str, Any]) -> bytes | None:
    """Return the bytes that the engine's own constructors give; None for what the store writes."""
    if "err" in item:
        err = dict(item["err"])
        error = CommandError(err.pop("code"), err.pop("msg"), **err)
        return refusal_item(item["re"], error).json
    if "re" in item:
        return reply_item(item["re"], item["d"]).json
    if "ev" in item and "seq" not in item:
        extra = {k: v for k, v in item.items() if k not in ("ev", "ts", "d")}
        return event_item(item["ev"], item["d"], item.get("ts"), **extra).json
    return None


@named(ITEMS["items"])
def test_server_item_has_the_pinned_bytes(case: dict[str, Any]) -> None:
    """An item is these bytes of JSON and these of MessagePack, and both mean the same."""
    text = case["json"].encode()

    assert (
        json.loads(text) == case["item"] == msgspec.msgpack.decode(bytes.fromhex(case["msgpack"]))
    )
    assert Item(text).packed.hex() == case["msgpack"]
    assert made(case["item"]) in (text, None)


@named(ITEMS["messages"])
def test_server_message_is_the_list_of_its_items(case: dict[str, Any]) -> None:
    """A message joins the bytes of its items under one list header."""
    by_name = {row["name"]: Item(row["json"].encode()) for row in ITEMS["items"]}
    items = [by_name[name] for name in case["items"]]

    assert frame_of(items, JSON) == text_frame(case["json"].encode())
    assert frame_of(items, MSGPACK) == binary_frame(bytes.fromhex(case["msgpack"]))


# Frames.


def built(opcode: int, payload: bytes) -> bytes:
    """Return a server's frame."""
    if opcode == CLOSE:
        code = int.from_bytes(payload[:2], "big")
        return close_frame(code, payload[2:].decode()) if payload else close_frame()
    makers: dict[int, Callable[[bytes], bytes]] = {
        TEXT: text_frame,
        BINARY: binary_frame,
        PING: ping_frame,
        PONG: pong_frame,
    }
    return makers[opcode](payload)


@named(FRAMES["server"])
def test_server_frame_has_the_pinned_bytes(case: dict[str, Any]) -> None:
    """A payload goes out in exactly this frame."""
    assert built(case["opcode"], bytes.fromhex(case["payload"])).hex() == case["frame"]


@pytest.mark.parametrize("case", FRAMES["server_long"], ids=lambda case: str(case["length"]))
def test_server_frame_header_grows_with_its_payload(case: dict[str, Any]) -> None:
    """From 126 and from 65,536 bytes on the length takes two and eight bytes more."""
    payload = bytes.fromhex(case["fill"]) * case["length"]

    assert text_frame(payload) == bytes.fromhex(case["header"]) + payload


def opened(frame: bytes) -> tuple[int, bytes]:
    """Return opcode and payload of a server's frame, as a client would read it."""
    wide = {126: 2, 127: 8}.get(frame[1], 0)
    body = frame[2 + wide :]
    assert len(body) == (int.from_bytes(frame[2 : 2 + wide], "big") if wide else frame[1])
    if frame[0] & 0x40:
        body = zlib.decompressobj(-15).decompress(body + b"\x00\x00\xff\xff")
    return frame[0] & 0x0F, body


@named(FRAMES["server_deflated"])
def test_deflated_frame_inflates_to_its_payload(case: dict[str, Any]) -> None:
    """The pinned frame and the one of today mean the same, each with a fresh context."""
    opcode, payload = case["opcode"], bytes.fromhex(case["payload"])
    today = deflated_frame(opcode, payload)

    assert opened(bytes.fromhex(case["frame"])) == opened(today) == (opcode, payload)
    assert today[0] & 0x40 == bytes.fromhex(case["frame"])[0] & 0x40


def shown(frame: Frame) -> dict[str, Any]:
    """Return what the reader gave as the vectors write it."""
    match frame:
        case Message(opcode, data):
            return {"opcode": opcode, "payload": data.hex()}
        case Ping(data):
            return {"opcode": PING, "payload": data.hex()}
        case Pong(data):
            return {"opcode": PONG, "payload": data.hex()}
        case Close(code, reason):
            return {"opcode": CLOSE, "payload": (code.to_bytes(2, "big") + reason.encode()).hex()}


@named(FRAMES["client"])
@pytest.mark.parametrize("cut", [1, 3, 1 << 20])
def test_client_frames_are_read_as_pinned(case: dict[str, Any], cut: int) -> None:
    """The same bytes give the same messages, however TCP cuts them."""
    data = bytes.fromhex(case["bytes"])
    reader = FrameReader(FRAMES["max_message_bytes"], inflate=case["deflate"])

    frames = [
        frame for at in range(0, len(data), cut) for frame in reader.feed(data[at : at + cut])
    ]

    assert [shown(frame) for frame in frames] == case["messages"]
    assert reader.error is None


@named(FRAMES["client_bad"])
@pytest.mark.parametrize("cut", [1, 1 << 20])
def test_bad_client_bytes_close_with_the_pinned_code(case: dict[str, Any], cut: int) -> None:
    """What breaks the rules ends the connection with this code."""
    data = bytes.fromhex(case["bytes"])
    reader = FrameReader(FRAMES["max_message_bytes"], inflate=case["deflate"])

    for at in range(0, len(data), cut):
        reader.feed(data[at : at + cut])

    assert reader.error is not None
    assert reader.error.close.number == case["close"]


# Coming back.


def test_closes_are_those_of_the_table() -> None:
    """Every close code of the engine is pinned, with its name and what it asks of a client."""
    pinned = {
        row["code"]: (row["name"], row["action"] != "stop")
        for row in RECONNECT["closes"]
        if "name" in row
    }

    assert pinned == {close.number: (close.name, close.reconnect) for close in CLOSES.values()}


@pytest.mark.parametrize("case", RECONNECT["closes"], ids=lambda case: str(case["code"]))
def test_close_code_tells_by_its_range_what_to_do(case: dict[str, Any]) -> None:
    """A client needs the ranges and seven codes by name, and one that wants a new token."""
    code = case["code"]
    back = code in (1001, 1005, 1006, 1011, 1012, 1013, 1014) or 4000 <= code <= 4399

    assert case["action"] == (
        "reconnect_with_new_token" if code == 4001 else "reconnect" if back else "stop"
    )


@pytest.mark.parametrize("case", RECONNECT["backoff"], ids=lambda case: str(case["attempt"]))
def test_backoff_is_full_jitter_up_to_the_cap(case: dict[str, Any]) -> None:
    """The delay is a random part of a bound that doubles until it reaches the cap."""
    bound = min(RECONNECT["cap_ms"], RECONNECT["base_ms"] * 2 ** case["attempt"])

    assert case["delay_ms"] == round(bound * case["random"])


@pytest.mark.parametrize("case", RECONNECT["sys_reconnect"], ids=lambda c: str(c["spread_ms"]))
def test_reconnect_event_spreads_the_clients(case: dict[str, Any]) -> None:
    """The delay is the fixed part and a random part of the spread."""
    assert case["delay_ms"] == case["after_ms"] + round(case["random"] * case["spread_ms"])


# Positions.


@pytest.mark.parametrize("case", POSITIONS["compare"])
def test_positions_compare_as_pinned(case: dict[str, Any]) -> None:
    """Within one epoch by seq, then by sub; across epochs not at all."""
    a, b = Position(**case["a"]), Position(**case["b"])
    order = None if a.epoch != b.epoch else (a > b) - (a < b)

    assert order == case["order"]


def judge(have: Position, seq: int, sub: int) -> str:
    """Return what a client does with a durable event, as docs/protocol.md says."""
    if (seq, sub) <= (have.seq, have.sub):
        return "drop"
    expected = have.seq if sub else have.seq + 1
    return "apply" if seq == expected else "gap"


@named(POSITIONS["stream"])
def test_stream_is_judged_as_pinned(case: dict[str, Any]) -> None:
    """A client applies what comes next, drops what it has seen, and notices what is missing."""
    have, verdicts = Position(**case["start"]), []
    for item in case["items"]:
        seq, sub = item["seq"], item.get("sub", 0)
        verdicts.append(judge(have, seq, sub))
        if verdicts[-1] == "apply":
            have = Position(have.epoch, seq, sub)

    assert verdicts == case["verdicts"]
    assert have == Position(**case["end"])


@named(POSITIONS["resume"])
def test_resume_gives_what_was_missed(case: dict[str, Any]) -> None:
    """A viewer gets every public event after its position, and its own private ones."""
    log = POSITIONS["log"]
    ring = Ring(100, 10_000)
    ring.reset(Position(log["epoch"], 0))
    for entry in log["entries"]:
        position = Position(log["epoch"], entry["seq"], entry["sub"])
        ring.append(position, entry["user"], json.dumps([position.seq, position.sub]).encode())

    missed = ring.after(Position(**case["since"]), case["user"])

    assert case["resumed"] == (missed is not None)
    assert case["missed"] == (None if missed is None else [json.loads(item) for item in missed])
