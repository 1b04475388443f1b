"""The room that every server is given, and what is read off while it holds it."""

from __future__ import annotations

import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.child import Child
from bench.machine import Cores, Noise, cpu_of
from bench.peers.crowd import MESSAGE, Crowd, Totals, compiler, text_frame
from bench.peers.install import Place
from bench.peers.servers import Peer, Running


__all__ = ["Load", "Result", "limit", "measure"]


@dataclass(frozen=True, slots=True)
class Load:
    """What a server is given.

    Args:
        viewers: in one room.
        rate: messages/s, from all of them in turn.
        window_s: how long it is measured, after a second of talk.
        calm_rate: messages/s of a second window, for the ages when nothing is near its limit.
        calm_s: its length.
        drain_s: how long what is missing is waited for.
        idle: connections that memory is measured with.
    """

    viewers: int = 500
    rate: float = 200.0
    window_s: float = 10.0
    calm_rate: float = 20.0
    calm_s: float = 2.0
    drain_s: float = 3.0
    idle: int = 2000

    @classmethod
    def quick(cls) -> Load:
        """Return a shorter one, for a first look."""
        return cls(window_s=2.0, calm_s=1.0, drain_s=2.0, idle=500)

    @property
    def text(self) -> str:
        """One line for the report."""
        return (
            f"{self.viewers} viewers in one room, {self.rate:g} messages/s of {len(MESSAGE)} bytes"
            f" = {self.viewers * self.rate:,.0f} deliveries/s wanted, {self.window_s:g} s"
        )


@dataclass(slots=True)
class Result:
    """What was found about one server; without `values` it was not measured, and `why` says why.

    `frame` is one that it wrote: the limit writes the engine's.
    """

    name: str
    title: str
    batching: str
    durability: str
    version: str = ""
    why: str = ""
    values: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    failed: bool = False
    frame: bytes = b""


_EACH = "no: one frame per message"
_WARM_S = 1.0
_FEW = 200  # viewers that are there before memory is looked at


def measure(name: str, peer: Peer, place: Place, cores: Cores, crowd: Crowd, load: Load) -> Result:
    """Measure one server: memory in a process of its own, then the room."""
    result = Result(name, peer.title, peer.terms.batching, peer.terms.durability)
    missing = peer.missing(place)
    if missing:
        result.why = f"not installed: {missing}"
        return result
    result.version = peer.version(place)
    noise = Noise()
    if peer.memory:
        with peer.running(place, cores) as running:
            result.values["kib_per_connection"] = _memory(peer, running, crowd, load.idle)
    with peer.running(place, cores) as running:
        _room(peer, running, crowd, load, result)
    result.notes.append(noise.text())
    return result


def limit(
    name: str, beat_ms: float, of: Result | None, cores: Cores, crowd: Crowd, load: Load
) -> Result:
    """Measure a loop in C that writes one frame to as many sockets, as often.

    Args:
        name: of the row.
        beat_ms: between two writes to the same socket.
        of: whose frames are written, as many as that server wrote; None: one message a frame.
        cores: where.
        crowd: who reads.
        load: how many read.
    """
    frame = of.frame if of is not None else _server_frame()
    per_frame = of.values["messages_per_frame"] if of is not None else 1.0
    what = "one message a frame" if of is None else f"the frames of {of.title}"
    batching = _EACH if of is None else of.batching
    result = Result(name, f"limit: C write loop, {what}", batching, "none")
    noise = Noise()
    seconds = min(3.0, load.window_s)
    used = _c_loop(frame, beat_ms, seconds, cores, crowd, load.viewers)
    each = used["cpu"] / used["writes"] * 1e6
    result.values = {
        "us_per_delivery": each / per_frame,
        "us_per_write": each,
        "messages_per_frame": per_frame,
        "busy": used["cpu"] / seconds,
        "frame_bytes": len(frame),
    }
    result.notes = [f"{each:.2f} us a write of {len(frame)} bytes; {noise.text()}"]
    return result


def _server_frame() -> bytes:
    # Unmasked, as servers write: the client's frame without the bit and the mask.
    frame = text_frame(MESSAGE)
    return bytes((frame[0], frame[1] & 0x7F)) + frame[6:]


def _c_loop(
    frame: bytes, beat_ms: float, seconds: float, cores: Cores, crowd: Crowd, count: int
) -> dict[str, Any]:
    program_of = compiler()
    assert program_of is not None, "the crowd was built with it"
    core = -1 if cores.worker is None else cores.worker
    with tempfile.TemporaryDirectory(prefix="liveroom-peers-") as folder:
        program, data = Path(folder, "cwrite"), Path(folder, "frame")
        source = Path(__file__).parents[1] / "cwrite.c"
        subprocess.run([program_of, "-O2", "-o", program, source], check=True, timeout=60)
        data.write_bytes(frame)
        words = (str(word) for word in (program, count, data, beat_ms, seconds, core))
        with Child(*words) as writer:
            crowd.connect_plain(writer.hello["port"], count)
            crowd.run(seconds + 1.5)
            done = writer.wait(15)
            crowd.leave()
    return done


def _memory(peer: Peer, running: Running, crowd: Crowd, count: int) -> float:
    crowd.connect(running.port, [peer.greet(n) for n in range(_FEW)])
    crowd.run(0.5)
    before = _resident(running)
    crowd.connect(running.port, [peer.greet(_FEW + n) for n in range(count)])
    crowd.run(2.0)
    after = _resident(running)
    closed = crowd.totals().closed
    crowd.leave()
    if closed:
        raise RuntimeError(f"{closed} of {count} idle connections were closed")
    return (after - before) / count / 1024


def _room(peer: Peer, running: Running, crowd: Crowd, load: Load, result: Result) -> None:
    crowd.connect(running.port, [peer.greet(n) for n in range(load.viewers)])
    crowd.run(0.5)
    # The calm window comes first: a server that is overrun has a backlog afterwards.
    calm = _window(running, crowd, load.calm_s, load.calm_rate, peer.message)
    values, lost = result.values, _drain(crowd, load, calm)
    values |= {"calm_p50_s": crowd.age(0.5), "calm_p99_s": crowd.age(0.99), "calm_missing": lost}
    crowd.run(_WARM_S, rate=load.rate, message=peer.message)
    window = _window(running, crowd, load.window_s, load.rate, peer.message)
    missing = _drain(crowd, load, window)
    values |= window.values()
    values |= {"p50_s": crowd.age(0.5), "p99_s": crowd.age(0.99), "missing": missing}
    result.frame = crowd.frame()
    result.notes.append(window.text())
    if missing:
        result.notes.append(f"{missing:,} deliveries not there {load.drain_s:g} s after the end")
    closed = crowd.totals().closed
    if closed:
        result.notes.append(f"{closed} viewers were closed by the server")
    values["closed"] = closed
    crowd.leave()


@dataclass(slots=True)
class _Window:
    seconds: float
    cpu: float
    store_cpu: float
    own_cpu: float
    sent: int
    hits: int
    frames: int
    size: int
    unsent: int
    late_s: float

    def values(self) -> dict[str, float]:
        """Return the figures of the table."""
        deliveries = max(1, self.hits)
        return {
            "us_per_delivery": (self.cpu + self.store_cpu) / deliveries * 1e6,
            "us_per_delivery_server": self.cpu / deliveries * 1e6,
            "us_per_delivery_store": self.store_cpu / deliveries * 1e6,
            "deliveries_per_s": self.hits / self.seconds,
            "busy": self.cpu / self.seconds,
            "load_busy": self.own_cpu / self.seconds,
            "sent": self.sent,
            "messages_per_frame": self.hits / max(1, self.frames),
            "bytes_per_delivery": self.size / deliveries,
        }

    def text(self) -> str:
        """Return what stands below the table."""
        store = f", store {self.store_cpu / self.seconds:.0%}" if self.store_cpu else ""
        behind = f"; {self.unsent} could not be sent" if self.unsent else ""
        limit = " (the load was the limit)" if self.own_cpu / self.seconds > 0.95 else ""
        return (
            f"server {self.cpu / self.seconds:.0%} of its core{store}, viewers"
            f" {self.own_cpu / self.seconds:.0%} of theirs{limit}, late by at most"
            f" {self.late_s * 1000:.0f} ms; {self.sent} sent{behind}, {self.frames:,} frames,"
            f" {self.hits / max(1, self.frames):.1f} messages and"
            f" {self.size / max(1, self.frames):.0f} bytes a frame"
        )


def _window(running: Running, crowd: Crowd, seconds: float, rate: float, message: bytes) -> _Window:
    before, cpu = crowd.mark(), _cpu(running)
    own, began = time.process_time(), time.monotonic()
    after = crowd.run(seconds, rate=rate, message=message)
    used = [b - a for a, b in zip(cpu, _cpu(running), strict=True)]
    return _Window(
        time.monotonic() - began,
        used[0],
        used[1],
        time.process_time() - own,
        after.marked_sent,
        _more(before, after, "hits"),
        _more(before, after, "frames"),
        _more(before, after, "bytes"),
        _more(before, after, "unsent"),
        after.late_ns / 1e9,
    )


def _more(before: Totals, after: Totals, name: str) -> int:
    difference: int = getattr(after, name) - getattr(before, name)
    return difference


def _drain(crowd: Crowd, load: Load, window: _Window) -> int:
    """Wait for what was sent in the window; return how many deliveries never came."""
    expected = window.sent * load.viewers
    return expected - crowd.run(load.drain_s, until=expected).marked_hits


def _cpu(running: Running) -> tuple[float, float]:
    """Return the CPU seconds of the server and of its store."""
    pids = running.pids()
    used = [cpu_of(pid) or 0.0 for pid in pids]
    border = len(pids) - running.stores
    return sum(used[:border]), sum(used[border:])


def _resident(running: Running) -> int:
    """Return the resident bytes of all processes of a server."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in running.pids()]
    return sum(pages) * 4096
