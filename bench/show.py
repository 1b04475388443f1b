"""A whole room for a minute, with an oracle inside every viewer.

`python -m bench.show [--viewers 1000] [--workers 2] [--rate 200] [--seconds 60] [--faults]`

Starts `liveroom serve` with its own store, joins viewers over all workers, has them talk and give,
and checks in every viewer: durable events without hole or double and equal for all; sent danmaku =
delivered + shed, exactly. Prints one table.

With `--faults` a worker is killed (SIGKILL) after a quarter of the time, the store's channel
connections after half of it, the store itself after three quarters. Viewers come back and resume;
givers repeat a gift under its key until it is answered. Danmaku may be lost then and are not judged;
durable events and money are.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import redis
import uvloop

from liveroom.core.histogram import Histogram


__all__ = ["main"]

_TOKEN = "guest:"


class Ledger:
    """What all viewers saw, to be compared."""

    def __init__(self) -> None:
        self.latency = Histogram()
        self.payload_of: dict[tuple[str, int], Any] = {}
        self.faults: list[str] = []

    def fault(self, text: str) -> None:
        """Note what must not be."""
        if len(self.faults) < 20:
            self.faults.append(text)


class Viewer:
    """One viewer: parses everything, counts everything."""

    def __init__(self, number: int, ledger: Ledger) -> None:
        self.user = f"v{number}"
        self.ledger = ledger
        self.delivered = 0
        self.kept = 0
        self.shed = 0
        self.frames = 0
        self.seq = -1
        self.epoch = ""
        self.durables = 0
        self.accepted = 0
        self.replies: dict[int, dict[str, Any]] = {}
        self.measure = False
        self.done = False
        self.back = 0
        self.acked = 0

    async def join(self, session: aiohttp.ClientSession, url: str) -> None:
        """Connect and say hello, with the position if there is one."""
        self.ws = await session.ws_connect(url, protocols=["liveroom.v1.json"], max_msg_size=0)
        d: dict[str, Any] = {"room": "demo", "token": _TOKEN + self.user}
        if self.epoch:
            d["resume"] = {"epoch": self.epoch, "seq": self.seq}
        await self.ws.send_str(orjson.dumps({"op": "hello", "id": 1, "d": d}).decode())
        message = await self.ws.receive(timeout=30)
        first = orjson.loads(message.data)
        greeting = first[0]["d"]
        if self.epoch and not greeting["resumed"]:
            self.ledger.fault(f"{self.user}: not resumed from {self.seq}: {greeting['epoch']}")
        self.epoch, self.seq = greeting["epoch"], greeting["seq"]
        for item in first[1:]:
            self.take(item, time.monotonic_ns())

    async def live(self, session: aiohttp.ClientSession, url: str) -> None:
        """Take everything; come back whenever the connection ends before it should."""
        while not self.done:
            try:
                await self.read()
                if not self.done:
                    await asyncio.sleep(random.uniform(0.1, 1.5))
                    self.back += 1
                    await self.join(session, url)
            except (aiohttp.ClientError, OSError, TimeoutError, TypeError):
                await asyncio.sleep(0.3)  # nobody listens yet, or it closed during the hello

    async def read(self) -> None:
        """Take everything until the connection ends."""
        async for message in self.ws:
            now = time.monotonic_ns()
            self.frames += 1
            for item in orjson.loads(message.data):
                self.take(item, now)

    def take(self, item: dict[str, Any], now: int) -> None:
        """Count one item."""
        if "re" in item:
            self.replies[item["re"]] = item
            if item["re"] >= 1000 and "d" in item:
                self.accepted += 1
        elif "seq" in item:
            self.take_durable(item)
        elif item.get("ev") == "danmaku":
            self.take_danmaku(item, now)
        elif item.get("ev") == "sys.shed":
            self.shed += item["d"].get("danmaku", 0)

    def take_danmaku(self, item: dict[str, Any], now: int) -> None:
        """Count a message; one that was kept for its author counts as shed already."""
        if item.get("kept"):
            self.kept += 1
            return
        self.delivered += 1
        if self.measure:
            self.ledger.latency.record((now - int(item["d"]["text"][1:])) / 1e9)

    def take_durable(self, item: dict[str, Any]) -> None:
        """Check order, completeness and equality."""
        self.durables += 1
        if item["seq"] != self.seq + 1:
            self.ledger.fault(f"{self.user}: after {self.seq} came {item['seq']}")
        self.seq = item["seq"]
        known = self.ledger.payload_of.setdefault((self.epoch, self.seq), item)
        if known != item:
            self.ledger.fault(f"{self.user}: {self.seq} differs: {item} {known}")

    async def say(self, number: int) -> None:
        """Send one danmaku with the time in it."""
        text = f"@{time.monotonic_ns()}"
        body = {"op": "danmaku.send", "id": 1000 + number, "d": {"text": text}}
        await self.ws.send_str(orjson.dumps(body).decode())

    async def give(self, number: int) -> None:
        """Send one gift, again and again under its key until it is answered for good."""
        reply_id = 500 + number % 400
        gift = {"op": "gift.send", "id": reply_id, "key": f"g{number}",
                "d": {"gift": "rose", "combo": False}}  # fmt: skip
        text = orjson.dumps([{"op": "wallet.get"}, gift]).decode()
        while not self.done:
            self.replies.pop(reply_id, None)
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self.ws.send_str(text)
            for _ in range(100):
                await asyncio.sleep(0.02)
                reply = self.replies.get(reply_id)
                if reply is not None:
                    break
            else:
                continue
            if "d" in reply:
                self.acked += 1
                return
            if not reply["err"].get("retry_ms"):
                self.ledger.fault(f"{self.user}: gift refused: {reply}")
                return


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123  # a kernel file
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:  # noqa: PTH123  # a kernel file
        return [int(text) for text in file.read().split()]


async def _serve(data: str, workers: int, port: int) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "liveroom", "serve", "--dev", "--demo", "--data", data,
        "--workers", str(workers), "--port", str(port), "--ops-port", "0",
        env=os.environ
        | {"LIVEROOM_MAX_PER_IP": "0", "LIVEROOM_HANDSHAKES_PER_S": "0"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while b"is ready" not in await process.stdout.readline():
            pass
    return process


async def _talk(viewers: list[Viewer], rate: int, seconds: float, givers: int) -> tuple[int, int]:
    """Send danmaku at a steady rate and gifts per second; return how many."""
    began, sent, gifts = time.monotonic(), 0, 0
    giving: set[asyncio.Task[None]] = set()
    order = viewers[:]
    random.shuffle(order)
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(int(passed * rate) - sent):
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await order[sent % len(order)].say(sent)
            sent += 1
        if gifts < passed * givers:
            giving.add(asyncio.create_task(order[-1 - gifts % len(order)].give(gifts)))
            gifts += 1
        await asyncio.sleep(0.002)
    await asyncio.wait(giving, timeout=30)
    return sent, gifts


async def _break_things(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Kill a worker, the channel connections and the store, a quarter of the time apart."""
    await asyncio.sleep(seconds / 4)
    worker = next(pid for pid in _children(process.pid) if "worker" in _name(pid))
    os.kill(worker, signal.SIGKILL)
    print("killed worker", worker)
    await asyncio.sleep(seconds / 4)
    store = next(pid for pid in _children(process.pid) if "store" in _name(pid))
    with redis.Redis(unix_socket_path=_socket_of(store)) as client:
        print("killed channel connections:", client.execute_command("CLIENT KILL TYPE pubsub"))
    await asyncio.sleep(seconds / 4)
    os.kill(store, signal.SIGKILL)
    print("killed store", store)


def _socket_of(pid: int) -> str:
    """Return the unix socket of a store: valkey shows it in its title or its arguments."""
    for line in Path("/proc/net/unix").read_text().splitlines():
        path = line.rpartition(" ")[2]
        if path.endswith("store.sock") and Path(path).parent.parent.name.startswith("show-"):
            return path
    raise FileNotFoundError(f"no socket of store {pid}")


async def _settled(viewers: list[Viewer]) -> None:
    """Wait until nothing more arrives."""
    while True:
        before = sum(viewer.frames for viewer in viewers)
        await asyncio.sleep(2.5)
        if sum(viewer.delivered for viewer in viewers) and before == sum(
            viewer.frames for viewer in viewers
        ):
            return
        if sum(v.frames for v in viewers) - before < 3 * len(viewers):
            return


async def _run(options: argparse.Namespace) -> int:
    ledger = Ledger()
    with tempfile.TemporaryDirectory(prefix="show-") as data:
        port = options.port
        process = await _serve(data, options.workers, port)
        drain = asyncio.create_task(_drain_output(process))
        try:
            return await _measure(options, ledger, process, f"ws://127.0.0.1:{port}/ws")
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 40)
            drain.cancel()


async def _drain_output(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        if b"error" in line or b"warning" in line:
            sys.stderr.write(line.decode())


async def _measure(
    options: argparse.Namespace, ledger: Ledger, process: asyncio.subprocess.Process, url: str
) -> int:
    viewers = [Viewer(number, ledger) for number in range(options.viewers)]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for start in range(0, len(viewers), 50):
            await asyncio.gather(*(v.join(session, url) for v in viewers[start : start + 50]))
        readers = [asyncio.create_task(viewer.live(session, url)) for viewer in viewers]
        await asyncio.sleep(3)
        pids = _children(process.pid)
        for viewer in viewers:
            viewer.measure = True
        base = [(v.delivered, v.shed) for v in viewers]
        cpu = {pid: _cpu_seconds(pid) for pid in pids}
        breaking = None
        if options.faults:
            breaking = asyncio.create_task(_break_things(process, options.seconds))
        givers = 20 if options.faults else 1
        sent, gifts = await _talk(viewers, options.rate, options.seconds, givers)
        spent = {pid: _cpu_seconds(pid) - cpu[pid] for pid in pids if _lives(pid)}
        if breaking is not None:
            await breaking
        await _settled(viewers)
        _report(options, ledger, viewers, base, sent, gifts, spent)
        for viewer in viewers:
            viewer.done = True
            await viewer.ws.close()
        await asyncio.gather(*readers)
    return 1 if ledger.faults else 0


def _report(
    options: argparse.Namespace,
    ledger: Ledger,
    viewers: list[Viewer],
    base: list[tuple[int, int]],
    sent: int,
    gifts: int,
    spent: dict[int, float],
) -> None:
    accepted = sum(viewer.accepted for viewer in viewers)
    delivered = [v.delivered - b[0] for v, b in zip(viewers, base, strict=True)]
    shed = [v.shed - b[1] for v, b in zip(viewers, base, strict=True)]
    for viewer, shown, lost in zip(viewers, delivered, shed, strict=True):
        if shown + lost != accepted and not options.faults:
            ledger.fault(f"{viewer.user}: accepted {accepted} != shown {shown} + shed {lost}")
    ends = collections.Counter(viewer.seq for viewer in viewers)
    if len(ends) != 1:
        ledger.fault(f"viewers ended at different positions: {ends}")
    total = sum(delivered)
    names = {pid: _name(pid) for pid in spent}
    rows = [
        ("viewers, workers", f"{len(viewers)}, {options.workers}"),
        ("danmaku sent, accepted", f"{sent}, {accepted} in {options.seconds} s"),
        ("shown to each viewer", f"{min(delivered)} to {max(delivered)}"),
        ("shed for each viewer", f"{min(shed)} to {max(shed)}"),
        ("own messages kept though shed", str(sum(viewer.kept for viewer in viewers))),
        ("accepted = shown + shed, in every viewer", _judged(options, ledger)),
        ("publish to viewer p50", f"{ledger.latency.quantile(0.5) * 1000:.0f} ms"),
        ("publish to viewer p99", f"{ledger.latency.quantile(0.99) * 1000:.0f} ms"),
        ("publish to viewer max", f"{ledger.latency.max * 1000:.0f} ms"),
        ("deliveries", f"{total} danmaku in {sum(v.frames for v in viewers)} frames"),
        ("reconnects, all resumed", str(sum(viewer.back for viewer in viewers))),
        ("gifts sent, acknowledged", f"{gifts}, {sum(viewer.acked for viewer in viewers)}"),
        ("gift events in the log, each once", str(_gift_events(ledger, viewers))),
        ("durable events seen by all viewers", str(sum(v.durables for v in viewers))),
        ("durable: no hole, no double, equal for all", "yes" if not ledger.faults else "NO"),
        *((f"CPU {names[pid]}", f"{seconds:.1f} s") for pid, seconds in spent.items()),
        (
            "CPU per delivery (workers)",
            f"{sum(s for p, s in spent.items() if 'worker' in names[p]) / max(1, total) * 1e6:.2f} us",
        ),
    ]
    for name, value in rows:
        print(f"{name:45} {value}")
    for fault in ledger.faults:
        print("FAULT", fault)


def _judged(options: argparse.Namespace, ledger: Ledger) -> str:
    if options.faults:
        return "not judged: viewers were away"
    return "NO" if ledger.faults else "yes"


def _gift_events(ledger: Ledger, viewers: list[Viewer]) -> int:
    """Count the gift events; as many as were acknowledged, or something is lost or doubled."""
    events: int = sum(item["ev"] == "gift.sent" for item in ledger.payload_of.values())
    acked = sum(viewer.acked for viewer in viewers)
    if events != acked:
        ledger.fault(f"{acked} gifts were acknowledged, {events} are in the log")
    return events


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _name(pid: int) -> str:
    with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123  # a kernel file
        line = file.read().replace(b"\0", b" ").decode()
    return f"store {pid}" if "valkey" in line or "redis" in line else f"worker {pid}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=18080)
    parser.add_argument("--faults", action="store_true")
    sys.exit(uvloop.run(_run(parser.parse_args())))


if __name__ == "__main__":
    main()
