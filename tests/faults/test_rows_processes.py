"""Whole engines as processes: workers killed and stopped, restarts one after another, herds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import harness
import servers
from faultproxy import FaultProxy, Pair
from faults.conftest import Stage
from faults.fan import Fan
from faults.figures import SHEDDING
from faults.people import Ledger, Person
from faults.served import Served, metrics_of_all, serving
from faults.trial import Trial
from liveroom.auth.tokens import mint
from liveroom.verify_draw import verify


FAILED = "liveroom_commit_failures_total"
RECONNECTED = "liveroom_channel_reconnects_total"
RESTARTED = "liveroom_worker_restarts_total"
ANY = 10**9
HERD_RATE = 120

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(150),
    pytest.mark.skipif(servers.debian_redis() is None, reason="no redis-server >= 7.0 on PATH"),
]


@pytest.fixture
def store(home: Path) -> Iterator[servers.ExternalRedis]:
    """A redis-server of the test's own, synced every second."""
    with servers.ExternalRedis(home / "redis") as made:
        yield made


@pytest.fixture
async def engine(home: Path, store: servers.ExternalRedis) -> AsyncIterator[Served]:
    async with serving(home, store.url) as made:
        yield made


async def staged(
    stage: Stage, row: str, fault: str, store: servers.Node, *engines: Served, **options: Any
) -> Trial:
    """Begin a trial at engines."""
    fronts = options.pop("fronts", [engine.address for engine in engines])
    made: Trial = await stage(
        row, fault, store.url, fronts=fronts, metrics=metrics_of_all(*engines), **options
    )
    return made


async def test_f01_store_killed_again_and_again(
    store: servers.ExternalRedis, engine: Served, stage: Stage
) -> None:
    """SIGKILL of a store that syncs every second: the kernel has what it was given."""
    show = await staged(stage, "F1", "kill -9 of the store 10 times, everysec", store, engine)
    for _ in range(10):
        await show.acks(15)
        await asyncio.to_thread(store.kill)
        await asyncio.sleep(0.1)
        await asyncio.to_thread(store.start)
        await show.recovered()
    await show.verdict(RECONNECTED)


async def test_f02_tail_of_the_log_lost(
    store: servers.ExternalRedis, engine: Served, stage: Stage
) -> None:
    """A power cut at its worst: all that was written in the last second is gone."""
    show = await staged(stage, "F2", "last second of the log cut off, everysec", store, engine)
    (file,) = (store.home / "appendonlydir").glob("*.incr.aof")
    sizes: list[tuple[float, int]] = []

    async def watch() -> None:
        while True:
            sizes.append((time.monotonic(), file.stat().st_size))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    await show.acks(150)
    await asyncio.sleep(1.2)
    watching.cancel()
    end = time.monotonic()
    await asyncio.to_thread(store.kill)
    kept = max(size for at, size in sizes if at < end - 1.0)
    os.truncate(file, kept)
    await asyncio.to_thread(store.start)
    await show.recovered(30)
    await show.verdict("liveroom_epochs_lost_total", may_lose=ANY, may_be_told=True, may_err=True)
    ages = [end - at for at in show.lost.values()]
    show.figures.note = f"lost ones were at most {max(ages, default=0) * 1000:.0f} ms old"
    assert all(age < 1.5 for age in ages), ages


async def test_f08_slow_channel_reader_is_cut_off(
    store: servers.ExternalRedis, engine: Served, stage: Stage
) -> None:
    """A worker that stands still until the server gives its subscription up comes back whole."""
    with servers.client(store.url) as link:
        link.config_set("client-output-buffer-limit", "pubsub 100kb 100kb 1")
    show = await staged(stage, "F8", "worker stopped, subscription over its limit", store, engine)
    await show.acks(20)
    (victim, *_) = engine.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    try:
        await flood(store)
    finally:
        os.kill(victim, signal.SIGCONT)
    await show.recovered(30)
    await until_true(engine.ready_again)
    await show.verdict(RECONNECTED, may_be_told=True)


async def flood(store: servers.Node) -> None:
    """Publish to what the workers hear themselves by, until the server drops a subscriber."""
    with servers.client(store.url) as link:
        names = link.pubsub_channels("lr!canary:*")
        before = len(link.client_list(_type="pubsub"))
        async with asyncio.timeout(30):
            while len(link.client_list(_type="pubsub")) >= before:
                for name in names:
                    link.publish(name, "x" * 65_536)
                await asyncio.sleep(0.01)


async def test_f14_worker_killed(
    store: servers.ExternalRedis, engine: Served, stage: Stage
) -> None:
    """SIGKILL of a worker under load, five times: whoever paid asks again and is told the same."""
    show = await staged(stage, "F14", "kill -9 of a worker 5 times", store, engine)
    await kill_workers(show, engine, [0, 1, 0, 1, 0])
    await show.verdict(RESTARTED)


async def test_f14_worker_killed_without_a_log(home: Path, stage: Stage) -> None:
    """Level `memory`: what the store has in its memory outlives every worker."""
    with servers.ExternalRedis(home / "redis", ["--appendonly", "no"]) as store:
        async with serving(home, store.url) as engine:
            show = await staged(stage, "F14", "kill -9 of a worker 2 times", store, engine)
            await kill_workers(show, engine, [0, 0])
            await show.verdict(RESTARTED)


async def kill_workers(show: Trial, engine: Served, which: Sequence[int]) -> None:
    """Kill one worker after the other; each is back before the next one goes."""
    for index in which:
        await show.acks(20)
        victim = engine.worker_pids()[index]
        os.kill(victim, signal.SIGKILL)
        await show.recovered()
        async with asyncio.timeout(30):
            while victim in engine.worker_pids():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await until_true(engine.ready_again)


async def test_f20_worker_stopped(
    store: servers.ExternalRedis, engine: Served, stage: Stage
) -> None:
    """SIGSTOP of a worker for 4 s: its viewers wait, the others do not; then all is made up."""
    show = await staged(stage, "F20", "worker stopped for 4 s", store, engine)
    await show.acks(20)
    (victim, *_) = engine.worker_pids()
    os.kill(victim, signal.SIGSTOP)
    await asyncio.sleep(4.0)
    os.kill(victim, signal.SIGCONT)
    await show.recovered()
    await show.verdict("liveroom_loop_lag_seconds")


async def test_f29_worker_stopped_while_it_draws(
    home: Path, store: servers.ExternalRedis, stage: Stage
) -> None:
    """SIGSTOP before its last step reaches the store; another draws, then it goes on: one result."""
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(FaultProxy(store.url.removeprefix("redis://"), home))
            for _ in range(2)
        ]
        engines = [
            await stack.enter_async_context(serving(home, proxy.url, f"engine{n}", workers=1))
            for n, proxy in enumerate(proxies)
        ]
        stopped: list[tuple[int, Pair]] = []
        for proxy, engine in zip(proxies, engines, strict=True):
            proxy.on_up = partial(stop_who_draws, stopped, engine.worker_pids()[0])
        show = await staged(
            stage, "F29", "who draws a lottery stopped until another has drawn", store, *engines
        )
        await open_lottery(show, engines[0])
        async with asyncio.timeout(20):
            while not stopped:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        ((victim, pair),) = stopped
        try:
            async with asyncio.timeout(40):  # a lease is good for 15 s
                while not drawn(show):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            os.kill(victim, signal.SIGCONT)
        pair.release()  # the late step comes to the store now
        await show.recovered(30)
        for engine in engines:
            verify(await proof_of(engine, show.room))
        await show.verdict("liveroom_loop_lag_seconds")
        assert len(drawn(show)) == 1


def stop_who_draws(stopped: list[tuple[int, Pair]], pid: int, pair: Pair, data: bytes) -> None:
    """Stop the first worker that would draw, with that step still on its way."""
    if b'"lottery.draw"' in data and not stopped:
        stopped.append((pid, pair))
        os.kill(pid, signal.SIGSTOP)
        pair.up.hold()


class Host(Person):
    """Opens a draw."""

    role = "host"


async def open_lottery(show: Trial, engine: Served) -> None:
    """Open a draw, have everybody enter, and end it."""
    host = Host(show.ledger, show.room, "host", lambda: [engine.address])
    async with aiohttp.ClientSession() as session:
        life = asyncio.create_task(host.live(session))
        prizes = [{"prize": "tea", "title": "Tea", "n": 2}]
        rules = {"lottery": "l1", "title": "Draw", "prizes": prizes, "seconds": 0}
        assert "d" in await host.until_done("lottery.open", "draw", **rules)
        for person in (*show.fans, *show.givers, *show.talkers):
            assert "d" in await person.until_done("lottery.enter", "", lottery="l1")
        assert "d" in await host.until_done("lottery.freeze", "", lottery="l1")
        await host.leave()
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


def drawn(show: Trial) -> list[Any]:
    """Return the results that viewers were shown."""
    return [item for item in show.ledger.payloads.values() if item["ev"] == "lottery.drawn"]


async def proof_of(engine: Served, room: str) -> Any:
    """Return the proof of the draw, as an engine gives it to anybody."""
    token = mint(harness.SECRET, user="any", room=room, role="viewer", ttl_s=60, now=time.time())
    url = f"http://{engine.address}/api/rooms/{room}/lotteries/l1/proof"
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_f22_no_files_left(home: Path, store: servers.ExternalRedis, stage: Stage) -> None:
    """A worker at its limit of open files: those who are there stay, newcomers get 503."""
    async with serving(home, store.url, workers=1, files=256) as engine:
        show = await staged(stage, "F22", "400 sockets, 256 files for 3 s", store, engine)
        await show.acks(20)
        (pid,) = engine.worker_pids()
        before = cpu_s(pid)
        refused = await knock(engine.address, 400, seconds=3.0)
        show.figures.note = f"{400 - refused} served, {cpu_s(pid) - before:.1f} s CPU in 3 s"
        await show.recovered()
        await show.verdict("liveroom_handshakes_refused_total")
        assert 120 <= 400 - refused <= 156
        assert all(person.back == 0 for person in [*show.fans, *show.givers])


async def knock(address: str, count: int, seconds: float) -> int:
    """Open so many sockets and hold them; return how many were not upgraded."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> bool:
            try:
                async with asyncio.timeout(seconds):
                    ws = await session.ws_connect(
                        f"ws://{address}/ws", timeout=aiohttp.ClientWSTimeout(ws_close=0.1)
                    )
            except (aiohttp.ClientError, OSError, TimeoutError):
                return False
            await asyncio.sleep(seconds)
            await ws.close()
            return True

        return [await done for done in asyncio.as_completed([one() for _ in range(count)])].count(
            False
        )


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_f24_rolling_restart(home: Path, store: servers.ExternalRedis, stage: Stage) -> None:
    """Two engines on one store, each replaced by another version and back; no outcome is unknown."""
    async with AsyncExitStack() as stack:
        live: list[Served] = []
        all_of_them: list[Served] = []

        async def begin(number: int, plugins: str) -> Served:
            made = Served(home, store.url, f"engine{number}", 1, PLUGINS=plugins)
            stack.callback(made.kill)
            await made.ready()
            all_of_them.append(made)
            return made

        live = [await begin(0, ""), await begin(1, "")]
        show = await stage(
            "F24",
            "rolling restart to another version and back",
            store.url,
            fronts=lambda: [engine.address for engine in live],
            metrics=all_of(all_of_them),
        )
        for number, plugins in enumerate(["coupons", "coupons", "", ""], 2):
            await show.acks(20)
            new = await begin(number, plugins)  # another script beside the old one's
            old = live.pop(0)
            live.append(new)
            assert await old.end() == 0
            await show.recovered()
        await show.verdict("liveroom_draining")
        assert "outcome_unknown" not in show.ledger.codes
        show.figures.note = f"refused meanwhile: {json.dumps(show.ledger.codes)}"


def all_of(live: list[Served]) -> Callable[[], Any]:
    """Return what reads the metrics of those that are there when asked."""

    async def read() -> str:
        return await metrics_of_all(*live)()

    return read


async def test_f26_hot_room(store: servers.ExternalRedis, engine: Served, stage: Stage) -> None:
    """One room takes nine tenths of the load; the script never holds the server for long."""
    show = await staged(
        stage, "F26", "hot room: 40 givers without a pause, 30 who talk", store, engine,
        crowd=(4, 40, 4), talkers=30,
    )  # fmt: skip
    for giver in show.givers:
        giver.pace_s = 0.0
    before = script_cost(store)
    await show.acks(1500, within=60)
    await show.recovered()
    busy_s, calls = (now - then for now, then in zip(script_cost(store), before, strict=True))
    show.figures.note = f"{busy_s / calls * 1000:.2f} ms of the server's CPU for a script"
    await show.verdict(SHEDDING)
    assert busy_s / calls < 0.01


def script_cost(store: servers.Node) -> tuple[float, int]:
    """Return the CPU time of the server's main thread and how many scripts it ran.

    The server's own log of what was slow goes by the wall clock: on a busy machine it is full of
    scripts that waited for a core.
    """
    with servers.client(store.url) as link:
        cpu = link.info("cpu")
        used = cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"]
        return float(used), int(link.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_f18_herd_of_5000(home: Path, store: servers.ExternalRedis, stage: Stage) -> None:
    """Half of 5,000 viewers lose their worker: back at the rate that was set, nobody is forgotten."""
    async with serving(home, store.url, HANDSHAKES_PER_S=str(HERD_RATE)) as engine:
        show = await staged(
            stage,
            "F18",
            "kill -9 of a worker with half of 5,000 viewers",
            store,
            engine,
            crowd=(2, 2, 1),
            talkers=1,
        )
        for person in (*show.givers, *show.buyers, *show.talkers):
            person.pace_s = 1.0  # each event is 5,000 messages that this process has to read
        async with herd(show, 5000) as crowd:
            reads = log_reads(store)
            os.kill(engine.worker_pids()[0], signal.SIGKILL)
            began = time.monotonic()
            await asyncio.sleep(1.0)  # so long it takes to be told
            await all_here(crowd, 60)
            lost = sum(fan.back for fan in crowd)
            took, reads = time.monotonic() - began, log_reads(store) - reads
            show.figures.note = f"{lost} lost, all back after {took:.1f} s, {reads} reads of logs"
            await show.recovered(30)
            await show.verdict("liveroom_handshakes_refused_total")
            assert not crowd[0].ledger.silent
        assert lost > 1000
        assert took < 45
        assert reads < 300


@asynccontextmanager
async def herd(show: Trial, count: int) -> AsyncIterator[list[Fan]]:
    """Have many more viewers in the room, who came one after the other."""
    ledger = Ledger()
    crowd = [Fan(ledger, show.room, f"herd{n}", show.fronts) for n in range(count)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        pause = 1 / (HERD_RATE * 1.8)
        lives = [
            asyncio.create_task(_come_later(fan, session, n * pause)) for n, fan in enumerate(crowd)
        ]
        try:
            await all_here(crowd, 90)
            yield crowd
        finally:
            await asyncio.gather(*(fan.leave() for fan in crowd), return_exceptions=True)
            for task in lives:
                task.cancel()
            await asyncio.gather(*lives, return_exceptions=True)


async def all_here(crowd: list[Fan], within: float) -> None:
    async with asyncio.timeout(within):
        for fan in crowd:
            await fan.here.wait()


async def _come_later(fan: Fan, session: aiohttp.ClientSession, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await fan.live(session)


def log_reads(store: servers.Node) -> int:
    """Return how often the store was asked for a piece of a log."""
    with servers.client(store.url) as link:
        return int(link.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0))


async def until_true(asked: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(aiohttp.ClientError, OSError):
                if await asked():
                    return
            await asyncio.sleep(0.05)
