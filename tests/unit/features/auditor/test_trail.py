"""The chain of a trail: whatever is done to an entry shows."""

from __future__ import annotations

import hashlib

import pytest

from liveroom.features.auditor.trail import Chain


def trail(*texts: str) -> list[dict[str, str]]:
    """Return a sound trail."""
    rows, last = [], ""
    for number, text in enumerate(texts, 1):
        last = hashlib.sha1(f"{last}{text}".encode()).hexdigest()
        rows.append({"id": f"{number}-0", "e": text, "h": last})
    return rows


TEXTS = ('{"op":"a"}', '{"op":"b","user":"é"}', '{"op":"c"}', '{"op":"d"}')


def found(rows: list[dict[str, str]], head: str) -> list[tuple[str, str]]:
    """Return what a chain finds."""
    chain = Chain()
    chain.take(rows)
    chain.end(head)
    return [(row["what"], row["key"]) for row in chain.broken]


def test_trail_that_is_sound_is_found_so_page_by_page() -> None:
    """Pages follow each other."""
    rows, chain = trail(*TEXTS), Chain()
    assert chain.after == ""
    chain.take(rows[:3])
    assert chain.after == "3-0"
    chain.take(rows[3:])
    chain.end(rows[-1]["h"])
    assert (chain.broken, chain.count, chain.last) == ([], 4, rows[-1]["h"])


def test_trail_that_is_empty_has_no_head() -> None:
    """A head without entries means that all of them were removed."""
    assert found([], "") == []
    assert found([], "0" * 40) == [("trail.head", "trail")]


@pytest.mark.parametrize("place", range(4))
def test_trail_shows_an_entry_that_was_changed_or_removed(place: int) -> None:
    """At its place, or behind it; the last one by the head."""
    head = trail(*TEXTS)[-1]["h"]
    changed = trail(*TEXTS)
    changed[place]["e"] += " "
    assert found(changed, head) == [("trail.chain", f"trail {place + 1}-0")]

    removed = trail(*TEXTS)
    del removed[place]
    expected = ("trail.head", "trail") if place == 3 else ("trail.chain", f"trail {place + 2}-0")
    assert found(removed, head) == [expected]


def test_trail_shows_an_entry_that_was_put_in_or_written_anew() -> None:
    """Its own hash may fit; what follows does not."""
    rows = trail(*TEXTS)
    forged = trail(TEXTS[0], '{"op":"x"}')[1] | {"id": "1-1"}
    assert found([rows[0], forged, *rows[1:]], rows[-1]["h"]) == [("trail.chain", "trail 2-0")]
    assert found([*rows[:3], {"id": "4-0"}], rows[-1]["h"])[0] == ("trail.chain", "trail 4-0")
