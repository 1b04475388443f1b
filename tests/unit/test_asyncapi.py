"""docs/asyncapi.yaml is the document of today's message types, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from msgspec import Struct

from liveroom.asyncapi import document, shipped_manager, to_yaml
from liveroom.config import Settings
from liveroom.front import SYSTEM_BODIES
from liveroom.plugin.manager import PluginManager
from liveroom.plugin.spec import Delivery, EventSpec, Plugin, StateSpec, Surface


FILE = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
MANAGER = shipped_manager()
DOCUMENT = document(MANAGER, Settings())
SCHEMAS = DOCUMENT["components"]["schemas"]


def refs(value: Any) -> Iterator[str]:
    """Yield every $ref inside a value."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from refs(item)
    elif isinstance(value, list):
        for item in value:
            yield from refs(item)


def resolve(ref: str) -> Any:
    """Return what a $ref of the document means."""
    value: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        value = value[part]
    return value


def item_schemas() -> list[Any]:
    """Return the schemas of all items that a server message may hold."""
    return [resolve(option["$ref"]) for option in SCHEMAS["Item"]["anyOf"]]


def test_asyncapi_file_is_current() -> None:
    """`python -m liveroom.asyncapi > docs/asyncapi.yaml` would change nothing."""
    assert yaml.safe_load(FILE.read_text(encoding="utf-8")) == DOCUMENT
    assert FILE.read_text(encoding="utf-8").endswith(to_yaml(DOCUMENT))


def test_asyncapi_every_ref_resolves() -> None:
    """Nothing points into the void."""
    found = list(refs(DOCUMENT))

    assert found
    for ref in found:
        assert resolve(ref), ref


def test_asyncapi_every_schema_is_used() -> None:
    """Nothing is described that no message holds."""
    used = {ref.rpartition("/")[2] for ref in refs(DOCUMENT) if "/schemas/" in ref}

    assert set(SCHEMAS) - used == set()


@pytest.mark.parametrize("op", [*SYSTEM_BODIES, *MANAGER.commands])
def test_asyncapi_has_every_command(op: str) -> None:
    """A command is a message of each channel that it may be sent on, with an operation of its own."""
    schema = resolve(DOCUMENT["components"]["messages"][op]["payload"]["$ref"])
    bound = MANAGER.commands.get(op)
    surfaces = bound.spec.surfaces if bound else {Surface.VIEWER, Surface.CONTROL}
    names = {Surface.VIEWER: "viewer", Surface.CONTROL: "control", Surface.SERVICE: "service"}

    assert schema["properties"]["op"] == {"enum": [op]}
    assert ("key" in schema["required"]) == bool(bound and bound.spec.keyed)
    for surface, channel in names.items():
        assert (op in DOCUMENT["channels"][channel]["messages"]) == (surface in surfaces)
        assert (f"{channel}_{op.replace('.', '_')}" in DOCUMENT["operations"]) == (
            surface in surfaces
        )


def test_asyncapi_has_every_event() -> None:
    """Each event that a client can see is an item; those between workers are not."""
    wanted = {event.name for event in MANAGER.events.values() if not event.internal}
    shown = [s["properties"]["ev"]["enum"][0] for s in item_schemas() if "ev" in s["properties"]]

    assert sorted(shown) == sorted(wanted)


def test_asyncapi_has_every_state() -> None:
    """Each `latest` key is an item; its name may go on behind a colon."""
    shown = [s["properties"]["st"]["pattern"] for s in item_schemas() if "st" in s["properties"]]

    assert sorted(shown) == sorted(f"^{name}(:.+)?$" for name in MANAGER.states)


def test_asyncapi_every_event_and_state_says_what_its_body_is() -> None:
    """No shipped declaration leaves the shape of `d` open."""
    told = [event for event in MANAGER.events.values() if not event.internal]
    declared: list[EventSpec | StateSpec] = [*told, *MANAGER.states.values()]

    assert [one.name for one in declared if one.body is None] == []


class Stock(Struct):
    left: int


class Shelf(Plugin):
    name = "shelf"
    events = (EventSpec("shelf.x-y", Delivery.EPHEMERAL, "Something."),)
    states = (StateSpec("stock", "What is left.", Stock),)


def test_asyncapi_describes_plugins_of_others() -> None:
    """A deployment's own plugins appear beside the built-in ones."""
    schemas = document(PluginManager([Shelf()]), Settings())["components"]["schemas"]

    assert schemas["ShelfXYEvent"]["properties"]["d"] == {"type": "object"}
    stock = [{"$ref": "#/components/schemas/Stock"}, {"type": "null"}]
    assert schemas["StockStateItem"]["properties"]["d"] == {"anyOf": stock}


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"a": [], "b": {}, "c": None},
        {
            "no": [1, [2, [3]], {"x": {"y": [True]}}],
            "1": "1",
            "$ref": "#/a",
            "a b": "é\n: - 你好 \\ #",
        },
        [[{"a": 1, "b": [{"c": 2}]}], "- x", 1.5, "yes"],
    ],
)
def test_asyncapi_yaml_reads_back(value: Any) -> None:
    """What the writer writes, a YAML reader reads as the same value."""
    assert yaml.safe_load(to_yaml(value)) == value
