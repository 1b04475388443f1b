"""`python -m bench.page_fps`: frames a second of the viewer page in a real browser.

Starts an engine, opens its page in Chromium, and has an audience of guests talk at 0, 30 and 200
messages a second. The page's own `requestAnimationFrame` tells how long each frame took. Without a
graphics card everything is drawn by the processor, on the cores that engine and audience share.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table


if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["main"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
VIEWS: dict[str, dict[str, Any]] = {
    "phone 390x844 @2": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
    "desk 1280x800": {"viewport": {"width": 1280, "height": 800}},
}
PER_GUEST = 1.2  # messages a second: what one viewer may say for long is 1.5
WARM_S = 3.0
WORDS = ("666", "is the red one back?", "looks gorgeous on camera", "主播好美", "已经下单了,期待")
ENGINE = {
    "LIVEROOM_MAX_PER_IP": "0",
    "LIVEROOM_HANDSHAKES_PER_S": "0",
    "LIVEROOM_DANMAKU_PER_S": "400",
}
FRAMES = """(ms) => new Promise((done) => {
  const found = [];
  let last = performance.now();
  const end = last + ms;
  const frame = (at) => {
    found.push(at - last);
    last = at;
    if (at < end) requestAnimationFrame(frame); else done(found);
  };
  requestAnimationFrame(frame);
})"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run showed."""

    view: str
    rate: int
    said: int
    frames: list[float]
    dropped: int

    def row(self) -> list[str]:
        """One row of the table."""
        ordered = sorted(self.frames)
        late = sum(ms > 20 for ms in ordered) / len(ordered)
        seconds = sum(ordered) / 1000
        return [
            self.view,
            f"{self.rate}",
            f"{self.said / seconds:.0f}",
            f"{len(ordered) / seconds:.1f}",
            f"{ordered[len(ordered) // 2]:.1f}",
            f"{ordered[int(len(ordered) * 0.99)]:.1f}",
            f"{late:.1%}",
            f"{self.dropped}",
        ]


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(prog="python -m bench.page_fps", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row: 10")
    parser.add_argument("--rates", default="0,30,200", help="messages a second: 0,30,200")
    given = parser.parse_args()
    rates = [int(rate) for rate in given.rates.split(",")]
    found = asyncio.run(_measure(rates, given.seconds))
    columns = "view,said/s wanted,said/s,frames/s,p50 ms,p99 ms,over 20 ms,not flown"
    table = Table(*columns.split(","))
    for measured in found:
        table.add_row(*measured.row())
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"headless Chromium without a graphics card; {cores} cores, load {os.getloadavg()[0]:.1f}"
    )
    return 0


async def _measure(rates: list[int], seconds: float) -> list[Measured]:
    from playwright.async_api import async_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("needs a browser on PATH: apt-get install chromium")
    async with _engine() as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        found = [await _one(browser, url, view, rate, seconds) for view in VIEWS for rate in rates]
        await browser.close()
    return found


@asynccontextmanager
async def _engine() -> AsyncIterator[str]:
    """Run `liveroom serve` with its demo room; yields its address."""
    command = Path(sys.executable).with_name("liveroom")
    args = ("serve", "--dev", "--demo", "--port", "0", "--ops-port", "0", "--durability", "memory")
    process = await asyncio.create_subprocess_exec(
        command,
        *args,
        "--log-level",
        "error",
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | ENGINE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            said = ""
            while not (ready := re.search(r"ready: (\S+?)/? ", said)):
                line = await process.stdout.readline()
                if not line:
                    sys.exit(f"the engine did not start: {said}")
                said += line.decode()
        yield ready[1]
    finally:
        process.terminate()
        await process.wait()


async def _one(browser: Browser, url: str, view: str, rate: int, seconds: float) -> Measured:
    context = await browser.new_context(locale="en-US", **VIEWS[view])
    page = await context.new_page()
    await page.goto(f"{url}/?room=demo&name=meter")
    await page.wait_for_selector("#link[data-state=live]", state="attached")
    async with AsyncExitStack() as stack:
        said = await stack.enter_async_context(_audience(url, rate))
        await asyncio.sleep(WARM_S)
        before, flown = said[0], await _not_flown(page)
        frames = await page.evaluate(FRAMES, seconds * 1000)
        said_then, dropped = said[0] - before, await _not_flown(page) - flown
    await context.close()
    return Measured(view, rate, said_then, frames[1:], dropped)


async def _not_flown(page: Page) -> int:
    return int(await page.locator(".flying").get_attribute("data-dropped") or 0)


@asynccontextmanager
async def _audience(url: str, rate: int) -> AsyncIterator[list[int]]:
    """Have guests talk together so many times a second; yields how often they did, in a list."""
    said = [0]
    guests = max(1, round(rate / PER_GUEST)) if rate else 0
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        tasks = [
            group.create_task(_guest(session, url, number, guests / rate, said))
            for number in range(guests)
        ]
        try:
            yield said
        finally:
            for task in tasks:
                task.cancel()


async def _guest(
    session: aiohttp.ClientSession, url: str, number: int, every_s: float, said: list[int]
) -> None:
    address = f"{url.replace('http', 'ws', 1)}/ws"
    async with session.ws_connect(address, protocols=["liveroom.v1.json"]) as socket:
        hello = {"op": "hello", "id": 1, "d": {"room": "demo", "token": f"guest:g{number}"}}
        await socket.send_str(orjson.dumps(hello).decode())
        reader = asyncio.create_task(_read(socket))
        await asyncio.sleep(every_s * (number % 17) / 17)
        try:
            while True:
                body = {"op": "danmaku.send", "d": {"text": _text(said[0])}}
                await socket.send_str(orjson.dumps(body).decode())
                said[0] += 1
                await asyncio.sleep(every_s)
        finally:
            reader.cancel()


def _text(number: int) -> str:
    """Return a text that nobody else says: what is said alike is folded."""
    tail = "".join(chr(ord("a") + number // 26**place % 26) for place in range(3))
    return f"{WORDS[number % len(WORDS)]} {tail}"


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


if __name__ == "__main__":
    sys.exit(main())
