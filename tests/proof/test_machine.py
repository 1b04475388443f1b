"""Runs the machine (see machine.py)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import servers
from liveroom.store.embedded import EmbeddedServer
from proof import system
from proof.machine import Machine, Tally


EXAMPLES = int(os.environ.get("LIVEROOM_PROOF_EXAMPLES", "25"))
STEPS = int(os.environ.get("LIVEROOM_PROOF_STEPS", "30"))
SHRINK = [Phase.shrink] if "LIVEROOM_PROOF_SHRINK" in os.environ else []
STORE = os.environ.get("LIVEROOM_PROOF_STORE", "redis" if servers.debian_redis() else "embedded")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[type[Machine]]:
    """The machine on a store of its own, that it may kill."""
    with ExitStack() as stack:
        url, restart = _redis(stack, tmp_path) if STORE == "redis" else _embedded(stack, tmp_path)
        yield type("Machine", (Machine,), {"url": url, "restart": [restart]})


def _redis(stack: ExitStack, home: Path) -> tuple[str, Callable[[], None]]:
    server = servers.ExternalRedis(home, ["--appendfsync", "always"], tcp=False)
    stack.enter_context(server)

    def restart() -> None:
        server.kill()
        server.start()

    return server.url, restart


def _embedded(stack: ExitStack, home: Path) -> tuple[str, Callable[[], None]]:
    server = stack.enter_context(EmbeddedServer(home))

    def restart() -> None:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        servers.until(lambda: server.poll() is not None, what="the store is dead")
        server.restart()

    return server.url, restart


def _run(machine: type[Machine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            derandomize="LIVEROOM_PROOF_EXAMPLES" not in os.environ,
            phases=[Phase.generate, *SHRINK],
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(3600)
def test_machine_every_step_is_one_that_the_model_allows(machine: type[Machine]) -> None:
    """Commands, duplicates, crashes, flushes, restarts and time, in any order."""
    _run(machine, EXAMPLES)
    sys.stdout.write(f"\n{EXAMPLES} runs of {STEPS} steps on {STORE}\n{Tally.report()}\n")


# What each of them would do is said by the law that it breaks.
PLANTED = {
    "a key is used once by two users": (
        "key('k:' .. op.u .. '|' .. op.k)", "key('k:' .. op.u .. ':' .. op.k)",
    ),
    "a key has no memory": ("if slot and final then", "if false then"),
    "a refusal is not remembered": ("reply, final = refusal_json(result)", "reply = refusal_json(result)"),
    "a payment is held twice": ("local digest = held and", "local digest = false and"),
    "a settled payment is settled again": (
        "write('HDEL', key('held'), transfer)", "if outcome == '0' then write('HDEL', key('held'), transfer) end",
    ),
    "money is given back and kept": (
        "if old then\n    local cut", "if old and false then\n    local cut",
    ),
    "a balance may be negative": ("if balance < amount then", "if balance < amount - 1000 then"),
    "the host is credited for one": (
        "write('HINCRBY', key('ledger'), 'host', string.format('%.0f', value))",
        "write('HINCRBY', key('ledger'), 'host', string.format('%.0f', d.price))",
    ),
    "votes count after the end": (
        "if is_over(poll) then fail('ended', 'the poll is over') end", "",
    ),
    "a change of mind counts twice": (
        "if before then count(poll, before, -1) else", "if not before then",
    ),
    "more than is there": (
        "if s.available < n then fail('sold_out'", "if s.available < 1 then fail('sold_out'",
    ),
    "more than one may have": ("if units > s.per_user then", "if user.units > s.per_user then"),
    "paid after it was released": (
        "if r.state == 'released' or (paid and", "if (paid and",
    ),
    "stock is lost when a sale ends": (
        "if s.tracked and s.available > 0 then note('stock', s.sku, s.available) end", "",
    ),
    "entries after the end": (
        "if not is_taking(draw) then fail('ended', 'this draw takes", "if false then fail('ended', 'this draw takes",
    ),
    "a prize claimed by who had it before": (
        "draw.status == 'drawn' and round == number(draw, 'round') and", "draw.status == 'drawn' and",
    ),
}  # fmt: skip


@pytest.mark.skipif("LIVEROOM_PROOF_PLANTED" not in os.environ, reason="takes minutes")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mistake", PLANTED)
def test_machine_finds_what_is_planted(
    machine: type[Machine], mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that finds no mistake that is there proves nothing by finding none."""
    monkeypatch.setattr(system, "PLANTED", [PLANTED[mistake]])
    with pytest.raises((AssertionError, ExceptionGroup)) as caught:
        _run(machine, int(os.environ["LIVEROOM_PROOF_PLANTED"]))
    assert "this line has changed" not in str(caught.value)
