"""`liveroom serve` as real processes: start, faults, drain, restart."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

import harness
import servers
from liveroom.auth.tokens import mint
from liveroom.store.embedded import EmbeddedServer


SECRET = harness.SECRET
START_S = 30.0
EXIT_S = 30.0
READY = re.compile(r"liveroom is ready: (http://\S+)/(?: \(room (\S+)\))? · ops (http://\S+)/\n")


class Engine:
    """One `liveroom serve` and what it said."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, log: Path) -> None:
        self.process = process
        self.out = out
        self.log = log
        self.http = ""
        self.ops = ""
        self.demo = ""
        self.clients: list[harness.Client] = []

    async def ready(self) -> None:
        """Wait for the line that says so."""
        await _until(self._said_or_ended, "ready")
        found = READY.match(self.out.read_text())
        assert found, self.log.read_text()
        self.http, self.demo, self.ops = found[1], found[2], found[3]

    async def _said_or_ended(self) -> bool:
        return "\n" in self.out.read_text() or self.process.poll() is not None

    async def join(
        self, room: str, user: str = "u1", role: str = "viewer", **options: Any
    ) -> harness.Client:
        """Join a room; hosts by the control socket."""
        path = "/ws" if role == "viewer" else "/control"
        client = await harness.Client.open(self.http.replace("http", "ws") + path)
        self.clients.append(client)
        token = mint(SECRET, user=user, room=room, role=role, ttl_s=600, now=time.time())
        client.hello = await client.ask("hello", room=room, token=token, **options)
        return client

    async def get(self, path: str) -> tuple[int, str]:
        """Ask the ops listener."""
        async with aiohttp.ClientSession() as session, session.get(self.ops + path) as response:
            return response.status, await response.text()

    async def metric(self, name: str) -> dict[str, float]:
        """Return the samples of one metric by their labels."""
        _, text = await self.get("/metrics")
        rows = re.findall(rf"^{name}(\S*) (\S+)$", text, re.MULTILINE)
        return {labels: float(value) for labels, value in rows}

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    def worker_pids(self) -> dict[int, int]:
        """Return the newest process id of each worker."""
        return {line["worker"]: line["pid"] for line in self.said("worker ready")}

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end and return the exit status."""
        return await asyncio.to_thread(self.process.wait, EXIT_S)


Start = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start engines: `await start("--workers", "2")`; their logs must hold no secret."""
    engines: list[Engine] = []

    async def begin(*args: str, ready: bool = True, secret: str = SECRET, **env: str) -> Engine:
        log, out = (tmp_path / f"engine-{len(engines)}.{kind}" for kind in ("log", "out"))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("LIVEROOM_")}
        clean |= {"LIVEROOM_JWT_SECRET": secret, "LIVEROOM_PORT": "0", "LIVEROOM_OPS_PORT": "0"}
        command = [sys.executable, "-m", "liveroom", "serve", *args]
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: ASYNC220 -- a start does not wait
                command, stdout=stdout, stderr=stderr, env=clean | env, cwd=tmp_path
            )
        engine = Engine(process, out, log)
        engines.append(engine)
        if ready:
            await engine.ready()
        return engine

    async with AsyncExitStack() as stack:
        stack.push_async_callback(_clean_up, engines)
        yield begin
        for engine in engines:
            text = engine.log.read_text()
            assert SECRET not in text
            assert "eyJ" not in text, "a token"
            assert "Traceback" not in text, text


async def _clean_up(engines: list[Engine]) -> None:
    for engine in engines:
        for client in engine.clients:
            await client.close()
        if engine.process.poll() is None:
            engine.process.kill()
            engine.process.wait()


async def _until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until an awaited check holds."""
    deadline = time.monotonic() + START_S
    while not await check():
        assert time.monotonic() < deadline, f"still not: {what}"
        await asyncio.sleep(0.02)


async def _gone(pid: int) -> bool:
    return bool(await asyncio.to_thread(servers.wait_gone, pid))


def _store_pid(data: Path) -> int:
    return int((data / "store" / "store.lock").read_text().split()[1])


async def test_serve_two_workers_share_the_port_and_are_measured(start: Start) -> None:
    """Viewers of both workers meet in the demo room; the ops listener tells how both are."""
    engine = await start("--dev", "--demo", "--workers", "2")
    assert engine.demo == "demo"

    viewers = [await engine.join("demo", f"u{n}") for n in range(12)]
    await viewers[0].ask("danmaku.send", text="hello")
    for viewer in viewers:
        await viewer.event("danmaku", text="hello")
    assert viewers[0].hello["snapshot"]

    status, text = await engine.get("/readyz")
    report = json.loads(text)
    assert status == 200
    assert report["ready"]
    assert report["durability"] == "fsync"
    assert [row["worker"] for row in report["workers"]] == [0, 1]
    assert (await engine.get("/healthz"))[0] == 200
    assert set((await engine.metric("liveroom_worker_up")).values()) == {1.0}
    joins = await engine.metric("liveroom_joins_total")
    assert {key[:11] for key in joins} == {'{worker="0"', '{worker="1"'}
    assert sum(joins.values()) == 12


async def test_serve_tells_its_state_to_the_operations_page(start: Start) -> None:
    """/status is /readyz and more, with 200 even when it is not ready; the page is at `/`."""
    engine = await start("--dev", "--demo")

    status, text = await engine.get("/status")
    report = json.loads(text)
    ready = json.loads((await engine.get("/readyz"))[1])
    for row in report["workers"]:
        assert row.pop("restarts") == 0
    assert status == 200
    assert ready.items() <= report.items()
    assert report.keys() - ready.keys() == {"version", "uptime_s", "stopping"}
    assert not report["stopping"]
    page = await engine.get("/")
    assert page[0] == 200
    assert "<script" in page[1]

    os.kill(engine.worker_pids()[0], signal.SIGKILL)

    async def told() -> bool:
        code, said = await engine.get("/status")
        (row,) = json.loads(said)["workers"]
        return code == 200 and row["restarts"] == 1

    await _until(told, "the worker was started again")


async def test_serve_counts_memory_queues_and_rooms_that_people_know(start: Start) -> None:
    """The gauges of the operations page: the store's memory, what waits, no internal scopes."""
    engine = await start("--dev", "--demo")
    await engine.join("demo")

    (memory,) = (await engine.metric("liveroom_store_memory_bytes")).values()
    assert memory > 100_000
    assert set((await engine.metric("liveroom_queue_bytes")).values()) == {0.0}
    assert set((await engine.metric("liveroom_rooms")).values()) == {1.0}
    assert set((await engine.metric("liveroom_draining")).values()) == {0.0}


async def test_serve_has_every_metric_that_dashboard_and_page_read(start: Start) -> None:
    """What they name is in /metrics of a running engine, under that very name."""
    root = Path(__file__).parents[2]
    texts = [root / "deploy/grafana/liveroom.json", *(root / "clients/web/src/ops").glob("*.ts*")]
    named = {n for path in texts for n in re.findall(r"\bliveroom_\w+", path.read_text("utf-8"))}
    assert len(named) > 20

    engine = await start("--dev")
    _, text = await engine.get("/metrics")
    known: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        known |= {name, f"{name}_bucket"} if kind == "histogram" else {name}
    assert named - known == set()


@pytest.mark.parametrize("secret", [SECRET, ""], ids=["own key", "no key"])
async def test_serve_dev_prints_the_address_of_the_host_console(start: Start, secret: str) -> None:
    """Its token is the demo room's host's, for hours; the log does not have it."""
    engine = await start("--dev", "--demo", secret=secret)
    line = engine.out.read_text().splitlines()[1]
    found = re.fullmatch(rf"host console: {engine.http}/host\?room=demo#token=(\S+)", line)
    assert found, line

    host = await harness.Client.open(engine.http.replace("http", "ws") + "/control")
    engine.clients.append(host)
    hello = await host.ask("hello", room="demo", token=found[1])
    assert hello["role"] == "host"
    await host.ask("room.update", title="Tonight")
    claims = orjson.loads(base64.urlsafe_b64decode(found[1].split(".")[1] + "=="))
    assert 11 * 3600 < claims["exp"] - time.time() <= 12 * 3600
    assert found[1] not in engine.log.read_text()


async def test_serve_warns_of_guests_from_outside(start: Start) -> None:
    """On loopback `dev` is at home; elsewhere somebody may have forgotten it."""
    at_home, open_to_all = await start("--dev"), await start("--dev", "--host", "0.0.0.0")

    assert not at_home.said("guests come in from outside: dev is on")
    (line,) = open_to_all.said("guests come in from outside: dev is on")
    assert line["level"] == "warning"


async def test_serve_prints_no_token_without_dev(start: Start) -> None:
    """In production the addresses are all that it says."""
    engine = await start()
    assert len(engine.out.read_text().splitlines()) == 1


async def test_serve_dead_worker_is_replaced_and_viewers_come_back(start: Start) -> None:
    """After SIGKILL of both workers in turn, viewers resume without a hole, on the same port."""
    engine = await start("--dev", "--demo", "--workers", "2")
    before = engine.worker_pids()
    viewer = await engine.join("demo")
    await viewer.ask("wallet.get")
    await viewer.ask("gift.send", key="k-1", gift="rose", n=1)
    seen = await viewer.event("gift.sent")
    position = {"epoch": viewer.hello["epoch"], "seq": seen["seq"], "sub": seen.get("sub", 0)}

    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    assert await viewer.closed() == 1006

    async def replaced() -> bool:
        return (await engine.get("/readyz"))[0] == 200 and engine.worker_pids() != before

    await _until(replaced, "both workers are back")
    assert set((await engine.metric("liveroom_worker_restarts_total")).values()) == {1.0}
    again = await engine.join("demo", resume=position)
    assert again.hello["resumed"]
    other = await engine.join("demo", "u2")
    await other.ask("wallet.get")
    await other.ask("gift.send", key="k-2", gift="rose", n=1)
    assert (await again.event("gift.sent"))["seq"] == seen["seq"] + 1


async def test_serve_dead_store_is_replaced_on_the_same_data(start: Start, data_dir: Path) -> None:
    """After SIGKILL of the store every acknowledged gift is there, and viewers stay connected."""
    engine = await start("--dev", "--demo", "--data", str(data_dir))
    viewer = await engine.join("demo")
    await viewer.ask("wallet.get")
    for n in range(5):
        await viewer.ask("gift.send", key=f"k-{n}", gift="rose", n=1)

    os.kill(_store_pid(data_dir), signal.SIGKILL)

    async def answers() -> bool:
        return "d" in await viewer.command("wallet.get")

    await _until(answers, "the store answers")
    assert (await viewer.ask("wallet.get"))["balance"] == 100_000 - 500
    await viewer.ask("gift.send", key="k-5", gift="rose", n=1)
    assert await engine.metric("liveroom_store_restarts_total") == {"": 1.0}


async def test_serve_sigterm_sends_everyone_away_and_leaves_nothing(
    start: Start, data_dir: Path
) -> None:
    """Viewers are told when to come back and closed with 1012; status 0; no process stays."""
    engine = await start("--dev", "--demo", "--workers", "2", "--data", str(data_dir))
    pids = [*engine.worker_pids().values(), _store_pid(data_dir)]
    viewers = [await engine.join("demo", f"u{n}") for n in range(4)]

    assert await engine.end() == 0

    for viewer in viewers:
        assert await viewer.closed() == 1012
        assert viewer.events("sys.reconnect")
    assert [pid for pid in pids if not await _gone(pid)] == []
    assert engine.said("engine stopped")[0]["clean"]
    with pytest.raises(aiohttp.ClientConnectionError):
        await engine.get("/healthz")


async def test_serve_second_sigterm_ends_at_once(start: Start) -> None:
    """Asked twice, it does not wait for the window."""
    engine = await start("--dev", "--demo", "--drain-s", "25")
    viewers = [await engine.join("demo", f"u{n % 9}") for n in range(40)]
    engine.process.send_signal(signal.SIGTERM)
    await viewers[0].item(lambda item: item.get("ev") == "sys.reconnect")
    began = time.monotonic()
    await engine.end()
    assert time.monotonic() - began < 10
    assert not engine.said("worker done")


async def test_serve_sigkill_takes_workers_and_store_along(start: Start, data_dir: Path) -> None:
    """Nothing outlives the supervisor, and the data is free for the next one."""
    engine = await start("--dev", "--demo", "--workers", "2", "--data", str(data_dir))
    pids = [*engine.worker_pids().values(), _store_pid(data_dir)]
    viewer = await engine.join("demo")

    assert await engine.end(signal.SIGKILL) == -signal.SIGKILL

    assert await viewer.closed() in (1006, 1012)
    assert [pid for pid in pids if not await _gone(pid)] == []
    with EmbeddedServer(data_dir) as store:
        assert store.alive


async def test_serve_two_engines_side_by_side(start: Start) -> None:
    """Each has its own store; a port that is taken is refused with its name."""
    first, second = await asyncio.gather(start("--dev", "--demo"), start("--dev"))
    await first.join("demo")
    client = await harness.Client.open(second.http.replace("http", "ws") + "/ws")
    second.clients.append(client)
    assert await client.refused("hello", room="demo", token="") in ("no_room", "room_closed")

    port = first.http.rpartition(":")[2]
    third = await start("--dev", "--workers", "2", "--port", port, ready=False)
    assert await third.ended() == 2
    assert f"port: expected a free one, came '127.0.0.1:{port}" in third.log.read_text()


async def test_serve_restart_keeps_rooms_and_balances(start: Start, data_dir: Path) -> None:
    """What the first run opened and charged, the second one knows, at the same position."""
    first = await start("--dev", "--data", str(data_dir))
    host = await first.join("shop", "h1", "host")
    await host.ask("room.open", title="Shop")
    viewer = await first.join("shop")
    await viewer.ask("wallet.get")
    await viewer.ask("gift.send", key="k-1", gift="rose", n=2)
    assert await first.end() == 0

    second = await start("--dev", "--data", str(data_dir))
    again = await second.join("shop")
    assert again.hello["epoch"] == viewer.hello["epoch"]
    assert (await again.ask("wallet.get"))["balance"] == 100_000 - 200
    await again.ask("gift.send", key="k-1", gift="rose", n=2)  # the same key charges nothing more
    assert (await again.ask("wallet.get"))["balance"] == 100_000 - 200


async def test_serve_refuses_to_start_without_a_key(start: Start) -> None:
    """Neither --dev nor a key: status 2 and the sentence that says what is missing."""
    engine = await start(ready=False, secret="")
    assert await engine.ended() == 2
    (sentence,) = [line for line in engine.log.read_text().splitlines() if line[0] != "{"]
    assert sentence.startswith("liveroom: jwt_secret: expected a key")


async def test_serve_unreachable_store_is_one_sentence(start: Start) -> None:
    """A store that is not there: status 1, the reason once for all workers, no password."""
    url = "redis://app:hunter2222@127.0.0.1:1/0"
    engine = await start("--dev", "--workers", "2", ready=False, LIVEROOM_REDIS=url)
    assert await engine.ended() == 1
    text = engine.log.read_text()
    (sentence,) = [line for line in text.splitlines() if line[0] != "{"]
    assert "127.0.0.1:1" in sentence
    assert "hunter2222" not in text


def test_serve_command_is_installed() -> None:
    """`make run` finds it beside the interpreter."""
    assert shutil.which("liveroom", path=str(Path(sys.executable).parent))
