"""Shows as files: read, judged, written, and read again the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from liveroom.errors import CommandError, ConfigError
from liveroom.shows import (
    Cue,
    Show,
    dump_show,
    load_show,
    read_json,
    read_toml,
    write_json,
    write_toml,
)


HEAD = '[[cues]]\ncue = "x"\nop = "o"\n'


BAD_TOML: dict[str, tuple[str, str]] = {
    "no TOML": ("title =", "expected TOML"),
    "no cues": ('title = "t"', "cues"),
    "no list": ("cues = 3", "array"),
    "no table": ("cues = [1]", "cue 0: "),
    "no op": ('[[cues]]\ncue = "x"', "cue x: .*`op`"),
    "unknown field": (HEAD + "at = 3", "cue x: .*`at`"),
    "unknown field above": ("name = 1\n" + HEAD, "`name`"),
    "not a name": ('[[cues]]\ncue = "x y"\nop = "o"', "cue x y: "),
    "negative": (HEAD + "at_s = -1", "cue x: .*at_s"),
    "a day and more": (HEAD + "at_s = 86401", "cue x: .*at_s"),
    "no number": (HEAD + "at_s = nan", "cue x: .*at_s"),
    "twice": (HEAD + HEAD, "cue x: expected different names"),
    "after nothing": (HEAD + 'after = "y"', "cue x: after: there is no cue y"),
    "after itself": (HEAD + 'after = "x"', "cue x: .*circle"),
    "a date": (HEAD + "d.t = 2026-11-22", "cue x: d: expected no date"),
    "infinite": (HEAD + "d.t = inf", "cue x: d: expected a number"),
    "beyond JSON": (HEAD + "d.t = 9007199254740993", "cue x: d: expected at most"),
    "bad JSON": (HEAD + "d = '{'", "cue x: d: expected a table or JSON"),
    "no object": (HEAD + "d = '[]'", "cue x: .*`object`"),
    "deep": (HEAD + f"d.t = {'[' * 40}{']' * 40}", "cue x: d: expected at most 32 levels"),
}


@pytest.mark.parametrize("name", BAD_TOML)
def test_shows_bad_files_are_refused_with_the_cue(name: str) -> None:
    """The sentence says which cue it is about, where it is about one."""
    text, said = BAD_TOML[name]

    with pytest.raises(CommandError, match=said):
        read_toml(text)


def test_shows_chains_may_be_long_and_not_round() -> None:
    """Each after the one before; a circle is found wherever it is entered."""
    cues = [{"cue": f"c{n}", "op": "o", "after": f"c{n - 1}"} for n in range(1, 200)]
    first = {"cue": "c0", "op": "o"}

    show = read_json(json_of([first, *cues]))

    assert len(show.cues) == 200
    with pytest.raises(CommandError, match="circle"):
        read_json(json_of([first | {"after": "c199"}, *cues]))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"cues":[]}', b"\xff", b"[" * 5000])
def test_shows_bad_json_is_refused(data: bytes) -> None:
    """What is no JSON, no object, or has no cues."""
    with pytest.raises(CommandError):
        read_json(data)


LONG = ".".join(["a"] * 40)


@pytest.mark.parametrize(
    "text",
    [
        f"{LONG} = 1",
        f"[{LONG}]",
        f"[[ {LONG}]]",
        f"x = {{{LONG} = 1}}",
        f"x = [{{b = 1, {LONG} = 1}}]",
        f"\n\t{LONG.replace('.', ' . ')} = 1",
        " . ".join(['"a"', "'b'"] * 20) + " = 1",
        '"\\"".' + LONG + " = 1",
        f'x = {{a = """b"""", {LONG} = 1, c = ""}}',
        f"x = {{a = '''b''''', {LONG} = 1, c = ''}}",
        f'x = """\\"""" # "\n{LONG} = 1',
        f"x = 1 # '''\n{LONG} = 1",
    ],
)
def test_shows_keys_of_many_parts_are_not_parsed(text: str) -> None:
    """Parsing costs the square of a key's parts: 64 KB of them would hold the worker."""
    with pytest.raises(CommandError, match="expected keys of at most 32 parts"):
        read_toml(text)


def test_shows_texts_may_hold_many_dots() -> None:
    """It is keys that are short."""
    prose = "One. " * 40
    text = f'title = "{"." * 90}"\n{HEAD}label = "{"1." * 40}"\nd.t = """{prose}"""'

    assert read_toml(text).cues[0].d == {"t": prose}


@pytest.mark.parametrize(
    "value",
    [
        f'"Look, {LONG} [{LONG}]"',
        f"'Look, {LONG}'",
        f'"""\n{LONG}\n"""',
        f"'''\n{LONG}\n''' # [{LONG}]",
        f'"""{LONG}\\"""""" # "',
        f'["{LONG}", "{LONG}"]',
    ],
)
def test_shows_texts_are_not_taken_for_keys(value: str) -> None:
    """What a text or a comment looks like is nobody's business."""
    assert LONG in str(read_toml(f"{HEAD}d.t = {value}").cues[0].d["t"])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS
    | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
SECONDS = st.none() | st.integers(0, 86_400) | st.floats(0, 86_400)


@settings(max_examples=60, deadline=None)
@given(title=TEXTS, bodies=st.lists(st.dictionaries(TEXTS, VALUES), min_size=1, max_size=4),
       at_s=SECONDS, label=TEXTS)  # fmt: skip
def test_shows_are_the_same_in_both_formats(
    title: str, bodies: list[dict[str, Any]], at_s: float | None, label: str
) -> None:
    """Whatever a body holds: written and read again it is the same show."""
    cues = [
        Cue(cue=f"c{n}", op="o", d=body, at_s=at_s, label=label, after="c0" if n else None)
        for n, body in enumerate(bodies)
    ]
    show = Show(title=title, cues=cues)

    assert read_json(write_json(show)) == show
    assert read_toml(write_toml(show)) == show


def test_shows_null_is_json_within_toml() -> None:
    """TOML has no null: such a body is written as JSON text."""
    show = Show(cues=[Cue(cue="unpin", op="shelf.pin", d={"item": None})])

    assert 'd = "{\\"item\\":null}"' in write_toml(show)


def test_shows_files_have_one_of_two_kinds(tmp_path: Path) -> None:
    """The ending says which; a file that cannot be read is named."""
    show = Show(title="t", cues=[Cue(cue="x", op="o", at_s=1.5, label="später")])
    for name in ("show.toml", "show.json"):
        dump_show(show, tmp_path / name)
        assert load_show(tmp_path / name) == show

    (tmp_path / "bad.toml").write_text(HEAD * 2)
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    for name, said in [
        ("bad.toml", "different names"), ("odd.toml", "utf-8"), ("none.toml", "No such file"),
        ("show.yaml", "toml"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            load_show(tmp_path / name)
    with pytest.raises(ConfigError, match="yaml"):
        dump_show(show, tmp_path / "show.yaml")


def json_of(cues: list[dict[str, Any]]) -> bytes:
    """Return the JSON text of a show with these cues."""
    show = Show(cues=[Cue(**cue) for cue in cues])
    return write_json(show)
