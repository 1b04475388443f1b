"""The thin methods say what there is to say."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest

from liveroom.asyncapi import shipped_manager
from liveroom.plugin.spec import Surface
from liveroom_client.commands import ViewerCommands, body
from liveroom_client.staff import StaffCommands


ANSWER = {
    "id": "m1", "balance": 5, "question": 1, "votes": 1, "watching": True,
}  # fmt: skip
SAMPLES: dict[str, Any] = {
    "int": 1, "str": "a", "bool": True, "Sequence": [], "Literal": None, "Mode": "top",
}  # fmt: skip


class Recorder(ViewerCommands, StaffCommands):
    """Answers everything, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, Any]] = []

    async def ask(self, op: str, d: Any = None, *, key: Any = False, **_: Any) -> dict[str, Any]:
        """Record it."""
        self.asked.append((op, d, key))
        return dict(ANSWER)


@functools.cache
def declared() -> dict[str, Any]:
    """Return the commands of the engine and of the shipped plugins."""
    return {op: command.spec for op, command in shipped_manager().commands.items()}


def methods(kind: type) -> list[str]:
    """Return the public methods of a class, save for the generic one."""
    return [
        name
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if name[0] != "_" and name != "ask"
    ]


@pytest.mark.parametrize("name", [*methods(ViewerCommands), *methods(StaffCommands)])
async def test_commands_ask_for_what_is_declared(name: str) -> None:
    """Each method sends one command that exists, with a key where one is needed."""
    recorder = Recorder()
    method = getattr(recorder, name)
    wanted = [
        SAMPLES[str(parameter.annotation).split("[")[0].split(" ")[0]]
        for parameter in inspect.signature(method).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.default is parameter.empty
    ]
    named = {
        parameter.name: SAMPLES[str(parameter.annotation).split("[")[0]]
        for parameter in inspect.signature(method).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }
    await method(*wanted, **named)

    ((op, d, key),) = recorder.asked
    spec = declared()[op]
    assert set(d or {}) <= set(spec.body.__struct_fields__)
    assert bool(key) >= spec.keyed
    staff = name in methods(StaffCommands)
    assert staff or Surface.VIEWER in spec.surfaces


def test_commands_leave_out_what_is_none() -> None:
    """A null is not as good as absent for every field."""
    assert body(a=1, b=None, c=False, d="") == {"a": 1, "c": False, "d": ""}
