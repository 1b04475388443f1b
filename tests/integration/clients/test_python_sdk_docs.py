"""The examples of docs/python-sdk.md do what they say."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import harness


ROOT = Path(__file__).parents[3]
PATIENCE_S = 25.0  # an interpreter starts, maybe on a busy machine
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "python-sdk.md").read_text(), re.DOTALL
)


async def started(code: str, port: int, token: str = "") -> asyncio.subprocess.Process:
    """Run an example against a worker."""
    code = code.replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "LIVEROOM_TOKEN": token},
    )  # fmt: skip


async def test_sdk_docs_viewer_is_short_and_sees_the_room(
    embedded_url: str, start_worker: harness.StartWorker
) -> None:
    """About 20 lines: says hello, and shows what others say and give."""
    assert len(EXAMPLES[0].strip().splitlines()) <= 22
    worker = await start_worker(embedded_url)
    await worker.open_room("demo")
    bob = await worker.join("demo")
    viewer = await started(EXAMPLES[0], worker.port)
    try:
        await bob.event("danmaku", text="hello")
        await bob.ask("danmaku.send", text="hi ada")
        await bob.ask("gift.send", key="k", gift="rose", n=2)
        wanted = {
            "ada: hello",
            f"{bob.hello['name']}: hi ada",
            f"{bob.hello['name']} gives 2 rose",
            "likes: 1",
        }
        assert viewer.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while wanted:
                line = await viewer.stdout.readline()
                assert line, wanted
                wanted.discard(line.decode().strip())
    finally:
        viewer.kill()
        await viewer.wait()


async def test_sdk_docs_host_opens_and_asks(
    embedded_url: str, start_worker: harness.StartWorker
) -> None:
    """The console's example runs to its end."""
    worker = await start_worker(embedded_url)
    host = await started(EXAMPLES[1], worker.port, worker.token("demo", "host", "h"))
    out, _ = await asyncio.wait_for(host.communicate(), PATIENCE_S)

    assert host.returncode == 0
    assert out.decode().splitlines() == ["[0, 0]", "version_conflict False"]
