"""Checks the proof of a draw: `python verify_draw.py FILE` (layer: none, it stands alone).

It needs nothing but Python's standard library, and shares no code with the engine that drew, so it
can be copied and read by itself. What it checks is described in docs/draw-proof.md. Exit status 0:
everything holds; 1: it does not, and one sentence names the first thing that does not; 2: usage.

With the package `drand-verify` it checks a beacon's signature, too.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any


__all__ = ["Unproven", "main", "verify"]

METHOD = "liveroom-draw-1"
QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
CHAINS = {  # genesis and period of the chains of drand that are known by name
    QUICKNET: (1692803367, 3),
    "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce": (1595431050, 30),
}

HEX32 = re.compile(r"[0-9a-f]{64}")
ROOM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
LOTTERY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
NONCE = re.compile(r"[0-9a-f]{0,64}")
SIGNATURE = re.compile(r"([0-9a-f]{2})+")

HASHES = ("rules_hash", "commitment", "seed", "root", "draw_key", "digest", "checksum")
TEXTS = {"room": ROOM, "lottery": LOTTERY, **dict.fromkeys(HASHES, HEX32)}
TIMES = ("opened_ms", "frozen_ms", "sealed_ms", "drawn_ms")
LISTS = ("entrants", "winners", "reserves", "redraws")
FIELDS = {"v", "rules", *TEXTS, *TIMES, *LISTS}
COUNTS = ("seconds", "claim_s", "reserves", "redraws")

Proof = dict[str, Any]
Rules = dict[str, Any]


class Unproven(Exception):
    """Something in the proof does not hold."""


def expect(holds: object, sentence: str) -> None:
    """Go on only if something holds."""
    if not holds:
        raise Unproven(sentence)


def sha256(*parts: bytes) -> bytes:
    """Return the hash of the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def utf8(text: str) -> bytes:
    """Return the bytes of a text; half a character, which no engine writes, just fits nothing."""
    return text.encode("utf-8", "surrogatepass")


def printable(text: str) -> str:
    """Return a text that acts on no terminal and adds no line: a proof's words are a stranger's."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def canonical(value: object) -> bytes:
    """Return the canonical JSON of a value (RFC 8785 for texts and whole numbers)."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return utf8(text)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash of RFC 6962, section 2.1, level by level."""
    if not leaves:
        return sha256()
    level = [sha256(b"\x00", leaf) for leaf in leaves]
    while len(level) > 1:
        paired = [sha256(b"\x01", a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(paired) * 2 :]  # the last of an odd number goes up as it is
    return level[0]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    expect(len(fields) == len(pairs), "json: a field stands there twice")
    return fields


def _no_fraction(text: str) -> Any:
    raise Unproven(f"json: expected whole numbers only, came {text}")


def parse(text: str) -> Any:
    """Return the value of a JSON text without fractions and repeated fields."""
    try:
        return json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_float=_no_fraction,
            parse_constant=_no_fraction,
        )
    except (ValueError, RecursionError) as exc:
        raise Unproven(f"json: the file cannot be read: {exc}") from exc


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number from 0 on; True and False are none."""
    return type(value) is int and value >= 0


def fits(pattern: re.Pattern[str], value: object) -> bool:
    """Tell whether a value is a text of a certain form."""
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def check_shape(proof: Any) -> None:
    """Check that every field is there, is what it should be, and is known."""
    expect(isinstance(proof, dict), "json: expected an object")
    missing = sorted(FIELDS - proof.keys())
    expect(not missing, f"fields: {', '.join(missing)} missing")
    unknown = sorted(proof.keys() - FIELDS - {"beacon"})
    expect(not unknown, f"fields: {', '.join(unknown)} unknown")
    expect(proof["v"] == 1 and is_count(proof["v"]), "v: expected version 1")
    for name, pattern in TEXTS.items():
        expect(fits(pattern, proof[name]), f"{name}: not of the form that it must have")
    for name in TIMES:
        expect(is_count(proof[name]), f"{name}: expected milliseconds")
    for name in LISTS:
        expect(isinstance(proof[name], list), f"{name}: expected a list")
    expect(isinstance(proof["rules"], str), "rules: expected a text")


def check_checksum(proof: Proof) -> None:
    """Check that the file is the one that was sent."""
    rest = {name: value for name, value in proof.items() if name != "checksum"}
    found = sha256(canonical(rest)).hex()
    expect(proof["checksum"] == found, "checksum: the file was changed or damaged")


# Rules and seed.


def read_rules(proof: Proof) -> Rules:
    """Return the rules, which must be those that were hashed."""
    text = proof["rules"]
    found = sha256(utf8(text)).hex()
    expect(proof["rules_hash"] == found, "rules: their hash is not rules_hash")
    rules: Rules = parse(text)
    expect(isinstance(rules, dict), "rules: expected an object")
    for name in COUNTS:
        expect(is_count(rules.get(name)), f"rules: {name}: expected a whole number")
    expect(isinstance(rules.get("exclude"), dict), "rules: exclude: expected an object")
    expect(isinstance(rules.get("prizes"), list), "rules: prizes: expected a list")
    expect(canonical(rules) == utf8(text), "rules: the text is not canonical")
    expect(rules.get("method") == METHOD, f"rules: the method is not {METHOD}")
    for prize in rules["prizes"]:
        whole = isinstance(prize, dict) and is_count(prize.get("n")) and "prize" in prize
        expect(whole, "rules: a prize has no id or number")
    return rules


def check_commitment(proof: Proof) -> None:
    """Check that the seed is the one that was bound before anybody could enter."""
    parts = (
        b"liveroom-seed-1",
        bytes.fromhex(proof["seed"]),
        proof["room"].encode(),
        proof["lottery"].encode(),
        bytes.fromhex(proof["rules_hash"]),
    )
    found = sha256(b"|".join(parts)).hex()
    expect(proof["commitment"] == found, "commitment: the seed is not the one that was bound")


def check_times(proof: Proof, rules: Rules) -> None:
    """Check that one thing came after the other, and the end when the rules said."""
    times = [proof[name] for name in TIMES]
    expect(times == sorted(times), "times: expected opened, frozen, sealed, drawn, in this order")
    if rules["seconds"]:
        due = proof["opened_ms"] + rules["seconds"] * 1000
        expect(proof["frozen_ms"] == due, "frozen_ms: the draw did not end when its rules said")


# Entrants.


def check_entrants(proof: Proof, rules: Rules) -> None:
    """Check the list of entrants, whom it may hold, and its root."""
    before = ""
    for entrant in proof["entrants"]:
        pair = isinstance(entrant, list) and len(entrant) == 2
        expect(
            pair and fits(USER, entrant[0]) and fits(NONCE, entrant[1]),
            "entrants: expected pairs of user and nonce",
        )
        expect(before < entrant[0], f"entrants: {entrant[0]} stands twice, or out of order")
        before = entrant[0]
    users = rules["exclude"].get("users", [])
    expect(isinstance(users, list), "rules: exclude: expected a list of users")
    left_out = {entrant for entrant, _ in proof["entrants"]}.intersection(map(str, users))
    expect(not left_out, f"entrants: the rules leave out {min(left_out, default='')}")
    root = merkle_root([canonical(entrant) for entrant in proof["entrants"]])
    expect(proof["root"] == root.hex(), "root: it is not that of these entrants")


# The beacon.


def check_beacon(proof: Proof, rules: Rules, public_key: str | None) -> list[str]:
    """Check the beacon's round, as far as that is possible; return what could not be checked."""
    wanted, came = rules.get("beacon"), proof.get("beacon")
    expect((wanted is None) == (came is None), "beacon: the rules and the proof do not agree on it")
    if wanted is None or came is None:
        return ["no beacon: whoever runs the server knew the seed before the entries were fixed"]
    _check_round(wanted, came)
    out_ms = (wanted["genesis"] + (wanted["round"] - 1) * wanted["period"]) * 1000
    expect(out_ms >= proof["frozen_ms"], "beacon: the round was out before the entries were fixed")
    expect(out_ms <= proof["drawn_ms"], "beacon: the round was not out yet when it was drawn")
    notes = _check_signature(wanted, came, public_key)
    if proof["sealed_ms"] > out_ms:
        notes.append("the root was sealed after the beacon's round was out")
    return notes


def _check_round(wanted: dict[str, Any], came: dict[str, Any]) -> None:
    expect(isinstance(wanted, dict), "rules: the beacon is not whole")
    numbers = [wanted.get(name) for name in ("round", "genesis", "period")]
    expect(all(map(is_count, numbers)), "rules: the beacon is not whole")
    expect(
        isinstance(came, dict) and came.keys() == {"round", "randomness", "signature"},
        "beacon: expected round, randomness and signature",
    )
    expect(came["round"] == wanted["round"], "beacon: it is not the round that the rules name")
    expect(fits(SIGNATURE, came["signature"]), "beacon: the signature is not hex")
    found = sha256(bytes.fromhex(came["signature"])).hex()
    expect(came["randomness"] == found, "beacon: the randomness is not the signature's SHA-256")
    known = CHAINS.get(str(wanted.get("chain", "")))
    expect(
        known in (None, (wanted["genesis"], wanted["period"])),
        "beacon: this chain has another genesis or period",
    )


def _check_signature(
    wanted: dict[str, Any], came: dict[str, Any], public_key: str | None
) -> list[str]:
    """Check the signature if the package for it is there and the chain's key is known."""
    try:
        import drand_verify  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return ["the beacon's signature was not checked: drand-verify is not installed"]
    number, signature = came["round"], came["signature"]
    try:
        if public_key is not None:
            found = drand_verify.verify_bls_unchained_g1_rfc9380(number, signature, public_key)
        elif wanted.get("chain") == QUICKNET:
            found = drand_verify.verify_quicknet(number, signature)
        else:
            return ["the beacon's signature was not checked: give the chain's --public-key"]
    except ValueError as exc:
        raise Unproven("beacon: the signature is not the chain's") from exc
    expect(found == came["randomness"], "beacon: the signature is not the chain's")
    return []


# The order.


def ranking(proof: Proof) -> list[str]:
    """Return all entrants in the order that seed, rules, entrants and beacon give."""
    randomness = bytes.fromhex(proof["beacon"]["randomness"]) if "beacon" in proof else b""
    parts = (
        b"liveroom-draw-1",
        bytes.fromhex(proof["rules_hash"]),
        bytes.fromhex(proof["root"]),
        randomness,
    )
    key = hmac.digest(bytes.fromhex(proof["seed"]), b"|".join(parts), "sha256")
    expect(proof["draw_key"] == key.hex(), "draw_key: seed, rules, root and beacon give another")
    users = [user for user, _ in proof["entrants"]]
    return sorted(users, key=lambda user: (hmac.digest(key, user.encode(), "sha256"), user))


def check_order(proof: Proof, rules: Rules) -> None:
    """Check winners and reserves: the first of the order, prizes as they are listed."""
    order = ranking(proof)
    # No more than can be won: rules may name more prizes than there is memory.
    each = ([prize["prize"]] * min(prize["n"], len(order)) for prize in rules["prizes"])
    prizes = islice(chain.from_iterable(each), len(order))
    winners = [{"prize": prize, "user": user} for prize, user in zip(prizes, order, strict=False)]
    expect(proof["winners"] == winners, "winners: the order gives others")
    reserves = order[len(winners) : len(winners) * (1 + rules["reserves"])]
    expect(proof["reserves"] == reserves, "reserves: the order gives others")


def check_digest(proof: Proof) -> None:
    """Check the digest that was published together with the winners."""
    unbound = {"checksum", "digest", "redraws", "rules"}
    bound = {name: value for name, value in proof.items() if name not in unbound}
    bound["entrants"] = len(proof["entrants"])
    found = sha256(canonical(bound)).hex()
    expect(proof["digest"] == found, "digest: it is not that of this draw")


def _redraws(proof: Proof) -> Iterator[tuple[int, int, list[list[Any]]]]:
    for redraw in proof["redraws"]:
        whole = isinstance(redraw, dict) and redraw.keys() == {"round", "at_ms", "given"}
        expect(
            whole and is_count(redraw["round"]) and is_count(redraw["at_ms"]),
            "redraws: expected round, at_ms and given",
        )
        expect(isinstance(redraw["given"], list), "redraws: expected a list of what was given")
        for pair in redraw["given"]:
            whole = isinstance(pair, list) and len(pair) == 2 and is_count(pair[0])
            expect(whole, "redraws: expected pairs of slot and user")
        yield redraw["round"], redraw["at_ms"], redraw["given"]


def check_redraws(proof: Proof, rules: Rules) -> None:
    """Check that what was not claimed went to the next of the order, no sooner than promised."""
    number, slots, began_ms = 0, list(range(len(proof["winners"]))), proof["drawn_ms"]
    open_slots, next_reserve = set(slots), 0
    for round_, at_ms, given in _redraws(proof):
        if round_ != number:
            expect(round_ == number + 1 <= rules["redraws"], "redraws: a round too many")
            due = began_ms + rules["claim_s"] * 1000
            expect(at_ms >= due, "redraws: the time to claim had not passed")
            number, began_ms, open_slots, slots = round_, at_ms, set(slots), []
        expect(at_ms == began_ms, "redraws: a round has two times")
        expect(given, "redraws: nothing was given")
        for slot, user in given:
            expect(slot in open_slots, f"redraws: the prize of slot {slot} could not be redrawn")
            expect(not slots or slot > slots[-1], "redraws: slots are out of order")
            following = proof["reserves"][next_reserve : next_reserve + 1]
            expect([user] == following, f"redraws: {user} was not the next of the order")
            next_reserve += 1
            slots.append(slot)


def verify(proof: Any, public_key: str | None = None) -> list[str]:
    """Check a whole proof; return what could not be checked, for people.

    Raises:
        Unproven: with a sentence that names the first thing that does not hold.
    """
    check_shape(proof)
    check_checksum(proof)
    rules = read_rules(proof)
    check_commitment(proof)
    check_times(proof, rules)
    check_entrants(proof, rules)
    notes = check_beacon(proof, rules, public_key)
    check_order(proof, rules)
    check_digest(proof)
    check_redraws(proof, rules)
    return notes


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="verify_draw.py", description="Check the proof of a draw; exit status 0 if it holds."
    )
    parser.add_argument("file", type=Path, help="the proof, as the server sent it")
    for name in ("commitment", "root", "digest"):
        parser.add_argument(f"--{name}", metavar="HEX", help="what you saw published at that time")
    parser.add_argument("--user", metavar="ID", help="also tell what became of this user")
    parser.add_argument("--public-key", metavar="HEX", help="of the beacon's chain")
    return parser.parse_args(argv)


def _told(proof: Proof, user: str) -> str:
    if user not in {entrant for entrant, _ in proof["entrants"]}:
        return f"{user} did not enter"
    holders: dict[int, str] = {slot: row["user"] for slot, row in enumerate(proof["winners"])}
    holders.update(pair for redraw in proof["redraws"] for pair in redraw["given"])
    won = [proof["winners"][slot]["prize"] for slot, holder in holders.items() if holder == user]
    return f"{user} entered and won {won[0]}" if won else f"{user} entered and holds no prize"


def _check_file(options: argparse.Namespace, say: Callable[[str], object]) -> None:
    try:
        text = options.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise Unproven(f"file: {exc}") from exc
    proof = parse(text)
    notes = verify(proof, options.public_key)
    for name in ("commitment", "root", "digest"):
        seen = getattr(options, name)
        expect(seen in (None, proof[name]), f"{name}: it is not the one that was published")
    counts = f"{len(proof['entrants'])} entrants, {len(proof['winners'])} winners"
    say(f"OK: draw {proof['lottery']} of room {proof['room']}: {counts}\n")
    for note in notes:
        say(f"NOTE: {note}\n")
    if options.user is not None:
        say(f"{printable(_told(proof, options.user))}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _arguments(argv)
    try:
        _check_file(options, sys.stdout.write)
    except (Unproven, RecursionError) as exc:  # too deep to be written
        sys.stderr.write(f"NOT PROVEN: {printable(str(exc))}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
