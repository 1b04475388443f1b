"""Reference tables: shapes on one line, markers filled, everything else left alone."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from msgspec import Meta

from liveroom import Body
from liveroom.reference import TABLES, fill, shape_of


class Nothing(Body, frozen=True, kw_only=True):
    pass


class Point(Body, frozen=True, kw_only=True):
    x: int
    y: int


class Everything(Body, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=9)]
    name: Annotated[str, Meta(pattern=r"^[a-z]+$(?!\n)")]
    at: Point
    n: Annotated[int, Meta(ge=1)] = 1
    kind: Literal["a", "b"] = "a"
    tags: Annotated[list[str], Meta(max_length=3)] | None = None


def test_reference_shape_of_a_body_is_one_line() -> None:
    """Each field with its kind, its bounds and what holds when it is left out."""
    assert shape_of(Everything) == (
        "`text`: string, 1 to 9 characters; `name`: string, `^[a-z]+$`; `at`: {x, y}; "
        '`n?`: integer, at least 1 (else 1); `kind?`: `a` or `b` (else "a"); '
        "`tags?`: list of string, 0 to 3"
    )


def test_reference_shape_of_no_fields_is_a_dash() -> None:
    """A command without arguments has an empty cell that shows."""
    assert shape_of(Nothing) == "—"


def test_reference_fill_replaces_what_stands_between_the_markers() -> None:
    """Text around the markers stays; filling twice changes nothing more."""
    text = "a\n<!-- table: states -->\nstale words\n<!-- end of table -->\nb\n"

    filled = fill(text)

    assert filled.startswith("a\n<!-- table: states -->\n\n| state |")
    assert filled.endswith("|\n\n<!-- end of table -->\nb\n")
    assert "stale words" not in filled
    assert fill(filled) == filled


def test_reference_fill_knows_its_tables() -> None:
    """A marker that names no table is an error, not an empty place."""
    with pytest.raises(KeyError):
        fill("<!-- table: nope -->\n<!-- end of table -->")


@pytest.mark.parametrize("name", TABLES)
def test_reference_table_is_rectangular(name: str) -> None:
    """No cell of a table breaks its row."""
    rows = TABLES[name]().replace("\\|", "").splitlines()

    assert len(rows) > 2
    assert {row.count("|") for row in rows} == {rows[0].count("|")}
