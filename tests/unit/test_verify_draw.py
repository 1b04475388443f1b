"""The verifier: agrees with the drawer, stands alone, and lets nothing through."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from draws import OPENED_MS, proof_text, random_proof
from liveroom import verify_draw
from liveroom.verify_draw import Unproven, canonical, parse, verify


VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "draw.json").read_text(encoding="utf-8")
)
PROOFS = {case["name"]: case["text"] for case in VECTORS["proofs"]}
BEACON = "beacon: drand quicknet, round 657413"
SEED = bytes(range(32))
ENTRANTS = [(f"u{n}", f"{n:02x}") for n in range(8)]
PRIZES = [("phone", 1), ("tea", 1)]

Proof = dict[str, Any]


def stamped(proof: Proof, *, digest: bool = False) -> Proof:
    """Return a proof with its checksum, and digest if wanted, made to fit again."""
    if digest:
        left_out = {"checksum", "digest", "redraws", "rules"}
        bound = {name: value for name, value in proof.items() if name not in left_out}
        bound["entrants"] = len(proof["entrants"])
        proof = proof | {"digest": hashlib.sha256(canonical(bound)).hexdigest()}
    rest = {name: value for name, value in proof.items() if name != "checksum"}
    return rest | {"checksum": hashlib.sha256(canonical(rest)).hexdigest()}


def sentence(proof: Any) -> str:
    """Return why a proof does not hold."""
    with pytest.raises(Unproven) as refused:
        verify(proof)
    return str(refused.value)


# Agreement.


def test_verify_draw_agrees_with_the_drawer() -> None:
    """A thousand small draws of every kind, each by a code of its own."""
    rng = random.Random(4)
    for _ in range(1000):
        proof = parse(random_proof(rng))
        assert verify(proof) == [verify_draw.check_beacon(proof, parse(proof["rules"]), None)[0]]


@pytest.mark.parametrize("name", PROOFS)
def test_verify_draw_accepts_the_vectors(name: str) -> None:
    """What tests/vectors/draw.json pins."""
    verify(parse(PROOFS[name]))


@pytest.mark.parametrize("case", VECTORS["draws"], ids=lambda case: str(case["name"]))
def test_verify_draw_finds_what_the_vectors_pin(case: Any) -> None:
    """Root, key and order of each draw."""
    proof = case | ({"beacon": {"randomness": case["randomness"]}} if case["randomness"] else {})
    leaves = [canonical(entrant) for entrant in case["entrants"]]

    assert verify_draw.merkle_root(leaves).hex() == case["root"]
    assert verify_draw.ranking(proof) == case["order"]
    verify_draw.check_commitment(proof)


# One change anywhere.


def test_verify_draw_notices_any_flipped_bit() -> None:
    """Every bit of a proof's text: what can still be read does not hold."""
    text = PROOFS["redrawn twice"].encode()
    whole = parse(text.decode())
    rng = random.Random(5)
    for place in range(len(text)):
        changed = bytearray(text)
        changed[place] ^= 1 << rng.randrange(8)
        try:
            proof = parse(bytes(changed).decode())
        except (Unproven, UnicodeDecodeError):
            continue
        assert proof != whole, changed
        sentence(proof)


def test_verify_draw_notices_cut_and_swapped_bytes() -> None:
    """Random damage of other kinds."""
    rng, text = random.Random(6), PROOFS["plain"]
    whole = parse(text)
    for _ in range(500):
        first, past = sorted(rng.sample(range(len(text)), 2))
        changed = text[:first] + "".join(rng.sample(text[first:past], past - first)) + text[past:]
        for damaged in (text[:past], text[:first] + text[past:], changed):
            try:
                proof = parse(damaged)
            except Unproven:
                continue
            if proof != whole:
                sentence(proof)


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value that is neither object nor list."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for name, item in inside:
        if isinstance(item, dict | list):
            yield from leaves_of(item, (*path, name))
        else:
            yield (*path, name)


def with_change(proof: Proof, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Proof:
    """Return a copy with one value changed."""
    copy = json.loads(json.dumps(proof))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = change(inner[path[-1]])
    return dict(copy)


def other(value: Any) -> Any:
    """Return something else that looks alike."""
    if isinstance(value, int):
        return value + 1
    if not value:
        return "00"
    return value[:-1] + ("0" if value[-1] != "0" else "1")


def informative(path: tuple[Any, ...]) -> bool:
    """Tell whether a value is said by whoever draws and bound by the checksum alone.

    Which prizes nobody claimed, and when that was seen: to whom they went on is bound.
    """
    return path[0] == "redraws" and (path[2:] == ("at_ms",) or path[-1] == 0)


@pytest.mark.parametrize("name", PROOFS)
def test_verify_draw_notices_a_change_that_is_made_to_look_whole(name: str) -> None:
    """Each value, with the checksum made to fit: only what is said to be informative may change."""
    proof = parse(PROOFS[name])
    free = set()
    for path in leaves_of(proof):
        if path == ("checksum",):
            continue
        try:
            verify(stamped(with_change(proof, path, other)))
        except Unproven:
            continue
        free.add(path)
    assert [path for path in free if not informative(path)] == []


def test_verify_draw_times_are_bound_by_the_published_digest() -> None:
    """With the digest made to fit, too, some times may change: so the digest is published."""
    proof = parse(PROOFS["plain"])
    free = {
        path[0]
        for path in leaves_of(proof)
        if path[0] not in ("digest", "checksum")
        and _holds(stamped(with_change(proof, path, other), digest=True))
    }
    assert free == {"sealed_ms", "drawn_ms"}


def _holds(proof: Proof) -> bool:
    try:
        verify(proof)
    except Unproven:
        return False
    return True


# What is said.


def forged(**fields: Any) -> Proof:
    """Return a proof with other fields, complete and made to fit."""
    return stamped(dict(parse(proof_text(SEED, ENTRANTS, PRIZES)) | fields), digest=True)


def redrawn(*rounds: list[list[Any]], late_ms: int = 0) -> Proof:
    """Return a proof with these redraws."""
    begun = OPENED_MS + 700_000
    rows = [
        {"round": n, "at_ms": begun + n * 600_000 + late_ms, "given": given}
        for n, given in enumerate(rounds, start=1)
    ]
    return forged(redraws=rows)


def with_rules(**changes: Any) -> Proof:
    """Return a proof whose rules were changed, and the hash with them."""
    proof = parse(proof_text(SEED, ENTRANTS, PRIZES))
    text = canonical(json.loads(proof["rules"]) | changes).decode()
    return forged(rules=text, rules_hash=hashlib.sha256(text.encode()).hexdigest())


RESERVES = parse(proof_text(SEED, ENTRANTS, PRIZES))["reserves"]
WINNERS = parse(proof_text(SEED, ENTRANTS, PRIZES))["winners"]

SENTENCES: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("json: expected an object", list),
    ("fields: seed missing", lambda: {k: v for k, v in forged().items() if k != "seed"}),
    ("fields: extra unknown", lambda: forged(extra=1)),
    ("v: expected version 1", lambda: forged(v=2)),
    ("v: expected version 1", lambda: forged(v=True)),
    ("seed: not of the form", lambda: forged(seed="AB" * 32)),
    ("room: not of the form", lambda: forged(room="a|b")),
    ("opened_ms: expected milliseconds", lambda: forged(opened_ms=-1)),
    ("winners: expected a list", lambda: forged(winners={})),
    ("rules: expected a text", lambda: forged(rules={})),
    ("checksum: the file was changed", lambda: forged() | {"seed": "00" * 32}),
    ("rules: their hash", lambda: forged(rules_hash="00" * 32)),
    ("rules: the method is not", lambda: with_rules(method="liveroom-draw-2")),
    ("rules: redraws: expected", lambda: with_rules(redraws="3")),
    ("rules: a prize has no", lambda: with_rules(prizes=[{"prize": "a"}])),
    ("commitment: the seed", lambda: with_rules(title="another")),
    ("commitment: the seed", lambda: forged(seed="00" * 32)),
    ("commitment: the seed", lambda: forged(room="other")),
    ("times: expected", lambda: forged(sealed_ms=OPENED_MS)),
    ("frozen_ms: the draw did not end", lambda: forged(frozen_ms=OPENED_MS + 59_999)),
    ("entrants: expected pairs", lambda: forged(entrants=[["a"]])),
    ("entrants: expected pairs", lambda: forged(entrants=[["a", "xy"]])),
    ("entrants: a stands twice", lambda: forged(entrants=[["a", ""], ["a", "00"]])),
    ("entrants: a stands twice, or out", lambda: forged(entrants=[["b", ""], ["a", ""]])),
    ("root: it is not", lambda: forged(root="00" * 32)),
    ("root: it is not", lambda: forged(entrants=[[u, n] for u, n in ENTRANTS[1:]])),
    ("beacon: the rules and the proof", lambda: forged(beacon={})),
    ("draw_key: seed, rules", lambda: forged(draw_key="00" * 32)),
    ("winners: the order gives others", lambda: forged(winners=WINNERS[::-1])),
    ("winners: the order gives others", lambda: forged(winners=WINNERS[:1])),
    ("reserves: the order gives others", lambda: forged(reserves=RESERVES[:-1])),
    ("digest: it is not", lambda: stamped(forged() | {"digest": "00" * 32})),
    ("redraws: expected round", lambda: forged(redraws=[{}])),
    ("redraws: expected a list", lambda: redrawn({})),  # type: ignore[arg-type]
    ("redraws: expected pairs", lambda: redrawn([[0]])),
    ("redraws: nothing was given", lambda: redrawn([])),
    ("redraws: the time to claim", lambda: redrawn([[0, RESERVES[0]]], late_ms=-1)),
    (f"redraws: {RESERVES[1]} was not", lambda: redrawn([[0, RESERVES[1]]])),
    ("redraws: the prize of slot 2", lambda: redrawn([[2, RESERVES[0]]])),
    ("redraws: slots are out", lambda: redrawn([[1, RESERVES[0]], [0, RESERVES[1]]])),
    ("redraws: the prize of slot 1", lambda: redrawn([[0, RESERVES[0]]], [[1, RESERVES[1]]])),
    ("redraws: a round too many", lambda: redrawn(*([[0, user]] for user in RESERVES[:4]))),
)


@pytest.mark.parametrize(("expected", "made"), SENTENCES, ids=[row[0] for row in SENTENCES])
def test_verify_draw_names_what_does_not_hold(expected: str, made: Callable[[], Any]) -> None:
    """The first thing, in one sentence, however well the rest was made to fit."""
    assert sentence(made()).startswith(expected)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("json: a field stands there twice", '{"v":1,"v":1}'),
        ("json: expected whole numbers only, came 1.0", '{"v":1.0}'),
        ("json: expected whole numbers only, came NaN", '{"v":NaN}'),
        ("json: the file cannot be read", "{"),
        ("json: the file cannot be read", "[" * 100_000),
    ],
)
def test_verify_draw_reads_strictly(expected: str, text: str) -> None:
    """What two readers could read in two ways is refused."""
    with pytest.raises(Unproven, match=expected):
        parse(text)


def hostile(**changes: Any) -> Proof:
    """Return a proof by somebody who can compute: all of it fits its rules, and nobody entered."""
    proof = with_rules(**changes)
    parts = (b"liveroom-seed-1", SEED, b"demo", b"l1", bytes.fromhex(proof["rules_hash"]))
    proof["commitment"] = hashlib.sha256(b"|".join(parts)).hexdigest()
    root = hashlib.sha256().digest()
    drawn = (b"liveroom-draw-1", bytes.fromhex(proof["rules_hash"]), root, b"")
    proof["draw_key"] = hmac.digest(SEED, b"|".join(drawn), "sha256").hex()
    nobody = {"entrants": [], "root": root.hex(), "winners": [], "reserves": [], "redraws": []}
    return stamped(proof | nobody, digest=True)


@pytest.mark.parametrize(
    "prizes",
    [
        [{"prize": "a", "n": 10**15, "title": ""}],
        [{"prize": "a", "n": 10**9, "title": ""}] * 3,
        [{"prize": "a", "n": 0, "title": ""}] * 1000,
    ],
    ids=["more than memory", "three times", "none"],
)
def test_verify_draw_counts_no_prizes_that_nobody_can_win(prizes: Any) -> None:
    """Rules may name more prizes than there is memory; the answer comes all the same."""
    assert verify(hostile(prizes=prizes))


@pytest.mark.parametrize("users", [5, "u1", {"u1": 1}, None])
def test_verify_draw_takes_no_other_list_of_excluded(users: Any) -> None:
    """A sentence, not a fault of the verifier."""
    assert sentence(hostile(exclude={"users": users})).startswith("rules: exclude: expected a list")
    assert verify(hostile(exclude={"users": [{}, [], 5, None]}))


# The beacon.


def beacon_proof(**changes: Any) -> Proof:
    """Return the proof with a round of drand's quicknet, whose beacon was changed."""
    proof = parse(PROOFS[BEACON])
    return stamped(proof | {"beacon": proof["beacon"] | changes}, digest=True)


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("beacon: it is not the round", {"round": 657_414}),
        ("beacon: the randomness is not", {"randomness": "00" * 32}),
        ("beacon: the signature is not hex", {"signature": "xy"}),
        ("beacon: expected round", {"more": 1}),
    ],
)
def test_verify_draw_checks_the_beacons_round(expected: str, changes: Any) -> None:
    """It is the one of the rules, and its randomness follows from its signature."""
    assert sentence(beacon_proof(**changes)).startswith(expected)


def beacon_draw(**times: Any) -> Proof:
    """Return a draw with the recorded round at other times."""
    proof = parse(PROOFS[BEACON])
    beacon = json.loads(proof["rules"])["beacon"]
    made: Proof = parse(
        proof_text(SEED, ENTRANTS, PRIZES, beacon=beacon, came=proof["beacon"], **times)
    )
    return made


def test_verify_draw_checks_when_the_round_was_out() -> None:
    """Not before the entries were fixed, not after the draw; a late seal is told."""
    out_ms = (1_692_803_367 + 657_412 * 3) * 1000
    early = beacon_draw(opened_ms=out_ms - 59_999, frozen_ms=out_ms + 1, sealed_ms=out_ms + 1)
    assert sentence(early).startswith("beacon: the round was out before")
    assert sentence(beacon_draw(drawn_ms=out_ms - 1)).startswith("beacon: the round was not out")
    late = beacon_draw(opened_ms=out_ms - 60_000, frozen_ms=out_ms, sealed_ms=out_ms + 1)
    assert "the root was sealed after the beacon's round was out" in verify(late)


def test_verify_draw_says_what_of_a_beacon_was_not_checked() -> None:
    """A signature is checked, or it is said that it was not."""
    unknown = {"chain": "00" * 32, "round": 11, "genesis": OPENED_MS // 1000, "period": 9}
    came = parse(PROOFS[BEACON])["beacon"] | {"round": 11}
    proof = parse(proof_text(SEED, ENTRANTS, PRIZES, beacon=unknown, came=came))
    (note,) = verify(proof)
    assert note.startswith("the beacon's signature was not checked")


def test_verify_draw_checks_a_recorded_signature() -> None:
    """A true round of drand's quicknet, and one that somebody made up."""
    pytest.importorskip("drand_verify")
    assert verify(parse(PROOFS[BEACON])) == []
    proof = parse(PROOFS[BEACON])
    made_up = "00" * 48
    came = {
        "round": 657_413,
        "randomness": hashlib.sha256(bytes.fromhex(made_up)).hexdigest(),
        "signature": made_up,
    }
    beacon = json.loads(proof["rules"])["beacon"]
    forgery = parse(proof_text(SEED, ENTRANTS, PRIZES, beacon=beacon, came=came))
    assert sentence(forgery) == "beacon: the signature is not the chain's"


# The command.


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a copy of the verifier by itself, where nothing of the engine can be imported."""
    copy = tmp_path / "verify_draw.py"
    shutil.copy(str(verify_draw.__file__), copy)
    (tmp_path / "proof.json").write_text(PROOFS["redrawn twice"], encoding="utf-8")
    (tmp_path / "bad.json").write_text(PROOFS["plain"].replace("u1", "u9"), encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(copy), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    return run


def test_verify_draw_runs_by_itself(
    alone: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """0 and what was checked; 1 and why not; 2 for what is no command."""
    proof = parse(PROOFS["redrawn twice"])
    good = alone("proof.json", "--commitment", proof["commitment"], "--digest", proof["digest"])
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith(
        "OK: draw l1 of room demo: 12 entrants, 3 winners\nNOTE: no beacon"
    )

    for arguments, why in (
        (["bad.json"], "checksum: the file was changed or damaged"),
        (["none.json"], "file: "),
        (["proof.json", "--root", "00" * 32], "root: it is not the one that was published"),
    ):
        bad = alone(*arguments)
        assert (bad.returncode, bad.stdout) == (1, "")
        assert bad.stderr.startswith(f"NOT PROVEN: {why}")
    assert alone().returncode == 2


def test_verify_draw_acts_on_no_terminal(
    alone: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Words of the file cannot write over the verdict, add a line, or stop it."""
    words = "\r\x1b[2KOK: draw l1\nOK: \u202e \ud800"
    (tmp_path / "evil.json").write_text(json.dumps(forged(**{words: 1})), encoding="utf-8")
    (tmp_path / "deep.json").write_text(
        json.dumps(forged())[:-1] + ',"beacon":' + "[" * 980 + "]" * 980 + "}", encoding="utf-8"
    )

    for name, why in (("evil.json", "fields: "), ("deep.json", "")):
        bad = alone(name)
        assert (bad.returncode, bad.stdout) == (1, "")
        assert bad.stderr.startswith(f"NOT PROVEN: {why}")
        assert bad.stderr[:-1].isprintable()


def test_verify_draw_tells_what_became_of_a_user(
    alone: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """By the last redraw: who holds a prize, who entered, who did not."""
    proof = parse(PROOFS["redrawn twice"])
    first = proof["winners"][0]["user"]
    heir = proof["redraws"][0]["given"][0][1]
    assert alone("proof.json", "--user", heir).stdout.endswith(f"{heir} entered and won phone\n")
    assert "entered and holds no prize" in alone("proof.json", "--user", first).stdout
    assert "nobody did not enter" in alone("proof.json", "--user", "nobody").stdout


def test_verify_draw_shares_nothing_with_the_engine() -> None:
    """It imports the standard library, and one package if it is there."""
    source = Path(str(verify_draw.__file__)).read_text(encoding="utf-8")
    imports = [
        line.split()[1]
        for line in source.splitlines()
        if line.lstrip().startswith(("import ", "from "))
    ]
    modules = {name.partition(".")[0] for name in imports}
    assert modules - set(sys.stdlib_module_names) == {"drand_verify"}
