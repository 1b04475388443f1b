"""Compares a store with a model, and its figures with each other."""

from __future__ import annotations

import re
from collections import Counter
from pprint import pformat
from typing import Any

import orjson

from proof.books import Books
from proof.model import Future, Told
from proof.stock import sales_of


__all__ = ["check_sums", "difference", "distance", "visible"]


def visible(books: Books) -> dict[str, Any]:
    """Return what a `World` shows, read from the store."""
    return {
        "accounts": {name: amount for name, amount in books.accounts.items() if amount},
        "held": {(hold["user"], hold["key"]): hold["amount"] for hold in books.holds},
        "credit": books.ledger.get("host", 0),
        "told": tuple(told for item in books.log() if (told := _told(item))),
        **_polls(books),
        **_stock(books),
        **_draws(books),
    }


_STATES = {"p": "paid", "r": "released", "x": "expired"}


def _told(item: dict[str, Any]) -> Told | None:
    name, d = item["ev"], item["d"]
    if name == "lottery.won":
        return (name, d["lottery"], item["to"], d["prize"])
    reader = _TOLD.get(name)
    return (name, *reader(d)) if reader else None


_TOLD: dict[str, Any] = {
    "room.opened": lambda d: (),
    "room.closed": lambda d: (),
    "gift.sent": lambda d: (
        d["user"]["id"], d["gift"], d["n"], d["combo"], d["combo_end"], d["value"],
    ),
    "flash.armed": lambda d: (d["sale"], d["total"]),
    "flash.started": lambda d: (d["sale"],),
    "flash.sold_out": lambda d: (d["sale"], d["total"], d["reserved"], d["sold"]),
    "flash.ended": lambda d: (d["sale"], d["total"], d["sold"], d["reserved"], d["unsold"]),
    "flash.stock": lambda d: (d["sale"], d["total"], d["was"]),
    "flash.paid": lambda d: (d["reservation"], d["order"]),
    "flash.released": lambda d: (d["reservation"],),
    "flash.expired": lambda d: (d["reservation"],),
    "lottery.opened": lambda d: (d["lottery"],),
    "lottery.frozen": lambda d: (d["lottery"], d["entrants"]),
    "lottery.sealed": lambda d: (d["lottery"],),
    "lottery.drawn": lambda d: (
        d["lottery"], d["entrants"], tuple(w["user"] for w in d.get("winners", ())),
    ),
    "lottery.redrawn": lambda d: (d["lottery"], d["round"], d["of"]),
    "lottery.settled": lambda d: (d["lottery"], d["of"], d["claimed"]),
    "lottery.cancelled": lambda d: (d["lottery"], d["was"], d["entrants"]),
    "poll.opened": lambda d: (d["poll"], d["ends_ms"]),
    "poll.closed": lambda d: (d["poll"], tuple(d["tally"]), d["voters"], d["by"]),
}  # fmt: skip


def _polls(books: Books) -> dict[str, Any]:
    polls = {
        name: (p["status"], tuple(orjson.loads(p["tally"])), int(p["voters"]), p["by"])
        for name, p in books.hashes("poll:").items()
    }
    votes = {
        (name, user): tuple(map(int, vote.split(",")))
        for name, hash_ in books.hashes("votes:").items()
        for user, vote in hash_.items()
    }
    return {"polls": polls, "votes": votes}


def _stock(books: Books) -> dict[str, Any]:
    rows = {sku: orjson.loads(text).get("stock") for sku, text in books.get("skus", {}).items()}
    sales = {
        number: (
            s["sale"], s["total"], s["available"], s["reserved"], s["sold"], s["started"],
            s["over"] > 0,
        )
        for number, s in sales_of(books).items()
    }  # fmt: skip
    return {"stock": rows, "sales": sales, "reservations": _reservations(books)}


def _draws(books: Books) -> dict[str, Any]:
    draws, entries = {}, {}
    for name, record in books.hashes("lottery:").items():
        if ":" not in name:
            slots = _slots(books, name, int(record.get("w", 0)))
            draws[name] = (record["status"], "root" in record, slots, int(record.get("round", 0)))
            for entry in books.get(f"lottery:{name}:in", {}):
                user, nonce, _ = entry.split(" ", 2)
                entries[name, user] = nonce
    running = books.get("lottery", {}).get("running", "")
    return {"draws": draws, "entries": entries, "running": running}


def _slots(books: Books, name: str, count: int) -> tuple[tuple[str, int], ...]:
    """Return who holds each prize, and when it was claimed."""
    order = books.get(f"lottery:{name}:order", {})
    ranked = {int(rank): user for user, rank in order.items()}
    held = books.get(f"lottery:{name}:held", {})
    claims = books.get(f"lottery:{name}:claim", {})
    slots = []
    for slot in range(count):
        rank = int(held.get(str(slot), f"{slot}|0").split("|")[0])
        by, _, ms = claims.get(str(slot), "|0").rpartition("|")
        assert by in ("", ranked[rank]), f"{name}: slot {slot} of {ranked[rank]} claimed by {by}"
        slots.append((ranked[rank], int(ms)))
    return tuple(slots)


def _reservations(books: Books) -> dict[str, tuple[str, int, int, str]]:
    found = {}
    for number, users in books.hashes("flash:u:").items():
        for user, text in users.items():
            for tag, n, till in re.findall(r"(\w+),(\d+),(\d+);", text):
                found[f"{number}-{user}-{tag}"] = ("reserved", int(n), int(till), "")
    for ended in books.hashes("flash:r:").values():
        for name, text in ended.items():
            letter, n, till, order = text.split("|")
            assert name not in found, f"{name} is held and {letter}"
            found[name] = (_STATES[letter], int(n), int(till), order)
    return found


def distance(expected: dict[str, Any], shown: dict[str, Any]) -> int:
    """Return how many parts differ, for a report."""
    return sum(expected[name] != shown[name] for name in shown)


def difference(best: Future, shown: dict[str, Any], items: list[Any]) -> str:
    """Say how what was seen differs from the nearest future that the model allows."""
    expected = best.world.visible()
    lines = ["no order of the steps explains this"]
    lines += [f"replies: {items}", f"nearest: {best.replies}"]
    for name in expected.keys() | shown.keys():
        if expected.get(name) != shown.get(name):
            lines.append(f"{name} expected {pformat(expected.get(name))}")
            lines.append(f"{name} found    {pformat(shown.get(name))}")
    return "\n".join(lines)


def check_sums(books: Books) -> None:
    """Check what must hold at every instant, whatever was sent.

    Raises:
        AssertionError: with the figures.
    """
    _check_money(books)
    _check_log(books)
    _check_polls(books)
    _check_stock(books)
    _check_draws(books)


def _check_money(books: Books) -> None:
    accounts = books.accounts
    assert sum(accounts.values()) == 0, accounts
    held = sum(hold["amount"] for hold in books.holds)
    assert accounts.get("~held", 0) == held, (accounts, books.holds)
    owing = {n: a for n, a in accounts.items() if a < 0 and not n.startswith("~out")}
    assert not owing, owing
    gifts = [item["d"] for item in books.log() if item["ev"] == "gift.sent"]
    paid = -books.ledger.get("~paid", 0)
    assert sum(books.ledger.values()) == 0, books.ledger
    assert sum(gift["value"] for gift in gifts) == paid, (gifts, books.ledger)
    settled = accounts.get("~room", 0)
    assert settled <= paid <= settled + held, (settled, paid, held)


def _check_log(books: Books) -> None:
    place = (0, 0)
    for item in books.log():
        came = (item["seq"], item.get("sub", 0))
        follows = came == (place[0] + 1, 0) or came == (place[0], place[1] + 1)
        assert follows, f"after {place} came {item}"
        place = came
    assert place == (books.position.seq, books.position.sub), (place, books.position)


def _check_polls(books: Books) -> None:
    shown = _polls(books)
    running = [name for name, poll in shown["polls"].items() if poll[0] == "open"]
    assert len(running) <= 1, running
    for name, (_, tally, voters, _) in shown["polls"].items():
        votes = [options for (voted, _), options in shown["votes"].items() if voted == name]
        kept = books.hashes("poll:")[name]["kept"] == "1"
        if kept:
            assert len(votes) == voters, (name, votes, voters)
            assert sum(map(len, votes)) == sum(tally), (name, votes, tally)
    closed: dict[str, Any] = {}
    for item in books.log():
        if item["ev"] == "poll.closed":
            assert item["d"]["poll"] not in closed, "closed twice"
            closed[item["d"]["poll"]] = item["d"]
    for name, d in closed.items():
        poll = shown["polls"][name]
        assert (tuple(d["tally"]), d["voters"]) == poll[1:3], (d, poll)


def _check_stock(books: Books) -> None:
    reservations = _reservations(books)
    for number, sale in sales_of(books).items():
        counts = (sale["available"], sale["reserved"], sale["sold"])
        assert sum(counts) == sale["total"], sale
        assert min(counts) >= 0, sale
        ours = {n: r for n, r in reservations.items() if n.startswith(f"{number}-")}
        units = Counter[str]()
        for state, n, _, _ in ours.values():
            units[state] += n
        assert (units["reserved"], units["paid"]) == counts[1:], (units, sale)
        by_user = Counter[str]()
        for name, (state, n, _, _) in ours.items():
            by_user[name.split("-", 1)[1].rsplit("-", 1)[0]] += n * (state in ("reserved", "paid"))
        assert max(by_user.values(), default=0) <= sale["per_user"], (by_user, sale)
        assert len(ours) == sale["made"], (ours, sale)
    taken = [i["d"]["taken"] for i in books.log() if i["ev"] == "flash.taken"]
    said = [name for names in taken for name in names]
    assert sorted(said) == sorted(reservations), (said, reservations)


def _check_draws(books: Books) -> None:
    shown = _draws(books)
    busy = [name for name, draw in shown["draws"].items() if draw[0] in ("open", "frozen")]
    assert busy == [shown["running"]] or (not busy and not shown["running"]), (busy, shown)
    told = Counter((i["ev"], i["d"].get("lottery")) for i in books.log())
    for name, (status, sealed, slots, _) in shown["draws"].items():
        holders = [user for user, _ in slots]
        assert len(set(holders)) == len(holders), holders
        entrants = {user for draw, user in shown["entries"] if draw == name}
        assert set(holders) <= entrants, (holders, entrants)
        for event, most in (("opened", 1), ("frozen", 1), ("sealed", 1), ("drawn", 1)):
            assert told[f"lottery.{event}", name] <= most, (event, name)
        assert bool(told["lottery.drawn", name]) == (status in ("drawn", "settled")), name
        assert bool(told["lottery.sealed", name]) == sealed, name
