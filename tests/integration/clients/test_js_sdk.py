"""The TypeScript client against a real worker, by scripts that Node runs; and its README's examples."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import harness
from liveroom.connection import Connection
from liveroom.errors import CLOSES, ERRORS
from liveroom.protocol.items import event_item
from liveroom_plugins.coupons import Coupons
from liveroom_plugins.redpackets import RedPackets


CLIENTS = Path(__file__).parents[3] / "clients"
JS = CLIENTS / "js"
PATIENCE_S = 60
OLDEST_NODE = 20

pytestmark = pytest.mark.timeout(120)


def _major(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("v").partition(".")[0])


def tool(name: str) -> str:
    """Return a program's path, or skip the test."""
    path, node = shutil.which(name), shutil.which("node")
    if path is None or node is None or _major(node) < OLDEST_NODE:
        pytest.skip(f"needs {name} of Node {OLDEST_NODE} or later on PATH")
    if not (CLIENTS / "node_modules" / "ws").is_dir():
        pytest.skip("needs clients/node_modules: npm ci --prefix clients")
    return path


@pytest.fixture(scope="module")
def built() -> None:
    """The package as it would be published: clients/js/dist."""
    build = [tool("npm"), "run", "build", "-w", "js"]
    npm = subprocess.run(
        build, cwd=CLIENTS, capture_output=True, text=True, timeout=60, check=False
    )
    assert npm.returncode == 0, npm.stdout + npm.stderr


@pytest.fixture
async def shop(embedded_url: str, start_worker: harness.StartWorker) -> harness.Worker:
    """A worker with the plugins that the scripts use."""
    return await start_worker(embedded_url, plugins=[Coupons(), RedPackets()])


def connections(worker: harness.Worker, user: str) -> list[Connection]:
    """Return a user's open connections."""
    found = worker.node.front.connections
    return [c for c in found if any(claims.user == user for claims in c.all_claims())]


class Stage:
    """What a script may ask for while it runs."""

    def __init__(self, worker: harness.Worker, room: str, buyer: harness.Client) -> None:
        self.worker = worker
        self.room = room
        self._buyer = buyer
        self._gifts = 0

    async def happen(self, n: int) -> int:
        """Have durable events come; return the last one's `seq`."""
        for _ in range(n):
            self._gifts += 1
            key = f"{self.room}-{self._gifts}"
            await self._buyer.ask("gift.send", key=key, gift="rose", n=1, combo=False)
        event = await self._buyer.item(
            lambda item: len(self._buyer.events("gift.sent")) >= self._gifts and "seq" in item
        )
        assert event["seq"] > 0
        seq: int = self._buyer.events("gift.sent")[-1]["seq"]
        return seq

    async def cut(self, user: str, how: str) -> bool:
        """Cut all connections of a user, with a close code or without a word."""
        for connection in connections(self.worker, user):
            if how == "abort":
                connection.abort()
            else:
                connection.close(how)
        return True

    async def move(self, user: str) -> bool:
        """Send a user to another connection, while events come."""
        (old,) = connections(self.worker, user)
        old.tell(event_item("sys.reconnect", {"after_ms": 0, "spread_ms": 20}))
        async with asyncio.timeout(PATIENCE_S):
            while old in connections(self.worker, user):
                await self.happen(1)
        return True


async def converse(process: Process, stage: Stage) -> None:
    """Do what the script asks for until it ends."""
    assert process.stdout is not None
    assert process.stdin is not None
    async for line in process.stdout:
        wish = json.loads(line)
        act: Callable[..., Awaitable[Any]] = getattr(stage, wish.pop("please"))
        process.stdin.write(json.dumps(await act(**wish)).encode() + b"\n")
        await process.stdin.drain()


@pytest.fixture
async def node() -> AsyncIterator[Callable[..., Awaitable[Process]]]:
    """Start Node; what still runs at the end of the test is ended."""
    started: list[Process] = []

    async def start(*arguments: str, cwd: Path = JS) -> Process:
        process = await asyncio.create_subprocess_exec(
            tool("node"), *arguments, cwd=cwd, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("script", ["join", "resume", "gift", "token", "activities"])
async def test_js_client_against_a_worker(
    shop: harness.Worker, room: str, node: Callable[..., Awaitable[Process]], script: str
) -> None:
    """Each script asserts by itself; see clients/js/tests/live."""
    await shop.open_room(room)
    buyer = await shop.join(room, "buyer")
    await buyer.ask("wallet.get")
    given = {
        "url": f"ws://127.0.0.1:{shop.port}/ws",
        "control": f"ws://127.0.0.1:{shop.port}/control",
        "room": room,
        "other": f"{room}-b",
        "tokens": {
            "ann": shop.token(room, user="ann"),
            "bob": shop.token(room, user="bob"),
            "short": shop.token(room, user="ann", ttl_s=50),
            "host": shop.token(room, "host", "boss"),
            "hostOther": shop.token(f"{room}-b", "host", "boss"),
        },
    }

    process = await node(f"tests/live/{script}.mjs", json.dumps(given))
    async with asyncio.timeout(PATIENCE_S):
        await converse(process, Stage(shop, room, buyer))
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
        assert await process.wait() == 0, said
        assert said == ""


def examples() -> list[str]:
    """Return the README's programs."""
    return re.findall(r"```js\n(.*?)```", (JS / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.usefixtures("built")
async def test_js_readme_viewer_and_host_run(
    shop: harness.Worker, room: str, node: Callable[..., Awaitable[Process]], tmp_path: Path
) -> None:
    """The two programs of the README, as they stand there, meet in a room."""
    viewer, host = examples()
    (tmp_path / "node_modules").symlink_to(CLIENTS / "node_modules")
    (tmp_path / "viewer.mjs").write_text(viewer, encoding="utf-8")
    (tmp_path / "host.mjs").write_text(host, encoding="utf-8")
    url = f"ws://127.0.0.1:{shop.port}"

    boss = await node("host.mjs", url, room, shop.token(room, "host", "boss"), cwd=tmp_path)
    assert boss.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert (await boss.stdout.readline()).decode() == "the show is on\n"
        ann = await node("viewer.mjs", url, room, shop.token(room, user="ann"), cwd=tmp_path)
        out, err = await ann.communicate()
        rest, errors = await boss.communicate()

    assert (ann.returncode, err.decode()) == (0, "")
    assert (boss.returncode, errors.decode()) == (0, "")
    assert "ann: hello" in out.decode()
    assert "Noodles 1" in rest.decode()


def test_js_readme_programs_are_short() -> None:
    """Twenty lines each are promised."""
    assert [len(program.splitlines()) <= 20 for program in examples()] == [True, True]


def test_js_tables_are_those_of_the_server() -> None:
    """Error and close codes of the client are those of liveroom.errors; needs no Node."""
    text = (JS / "src" / "codes.ts").read_text(encoding="utf-8")
    errors, closes = (text.split(f"export const {name}:")[1].split("};")[0] for name in NAMES)

    found = {name: again == "true" for name, again in re.findall(r"(\w+): (true|false),", errors)}
    assert found == {row.name: row.retry for row in ERRORS.values()}
    rows = re.findall(r'(\d+): \["(\w+)", (true|false), "(.*)"\]', closes)
    assert [(int(number), name, again == "true", said) for number, name, again, said in rows] == [
        (row.number, row.name, row.reconnect, row.sentence) for row in CLOSES.values()
    ]


NAMES = ("ERRORS", "CLOSES")
