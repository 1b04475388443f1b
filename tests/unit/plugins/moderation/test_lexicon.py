"""Packs: what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from liveroom_plugins.moderation.lexicon import (
    SHIPPED,
    Action,
    Levels,
    Pack,
    PackError,
    load_pack,
    load_shipped,
)


HEAD = 'name = "mine"\nabout = "a test"\n'
GROUP = '[[group]]\ncategory = "bullying"\n'
PATTERN = '[[pattern]]\nid = "p"\ncategory = "phone"\n'


def load(folder: Path, rest: str, **beside: str) -> Pack:
    """Write a pack and read it."""
    for name, text in beside.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    file = folder / "mine.toml"
    file.write_text(HEAD + rest, encoding="utf-8")
    return load_pack(file)


def refused(folder: Path, rest: str, **beside: str) -> str:
    """Return what is said about a pack that cannot be used."""
    with pytest.raises(PackError) as raised:
        load(folder, rest, **beside)
    assert raised.value.file.parent == folder
    return str(raised.value).replace(f"{folder}/", "")


def test_lexicon_words_take_what_the_group_says(tmp_path: Path) -> None:
    """A bare word has the group's level and action, a table its own."""
    rest = (
        GROUP
        + 'level = 2\naction = "hold"\nwords = ["aa", {text = "bb", level = 4, action = "mute"}]\n'
    )
    pack = load(tmp_path, rest)

    assert [(w.rule, w.category, w.level, w.action) for w in pack.words] == [
        ("mine:aa", "bullying", 2, Action.HOLD),
        ("mine:bb", "bullying", 4, Action.MUTE),
    ]


def test_lexicon_words_pass_through_the_views_of_texts(tmp_path: Path) -> None:
    """The lexicon's own dress does not matter."""
    (word,) = load(tmp_path, GROUP + 'words = ["天 天天 特價"]\n').words

    assert (word.form.text, word.form.runs, word.form.han) == ("天特价", (3, 1, 1), True)


def test_lexicon_sound_counts_for_three_syllables_or_on_demand(tmp_path: Path) -> None:
    """Every Chinese word can be spelled; what sound alone may do depends on the entry."""
    rest = (
        GROUP
        + 'words = ["加微信", {text = "傻逼", sound = true}, {text = "煞笔", sound = false}, "v信"]\n'
    )
    words = load(tmp_path, rest).words

    assert [(len(word.syllables), word.alone) for word in words] == [
        (3, False),
        (2, True),
        (0, False),
        (0, False),
    ]


def test_lexicon_a_list_may_stand_in_a_file(tmp_path: Path) -> None:
    """One word a line; comments and empty lines do not count."""
    pack = load(tmp_path, GROUP + 'file = "more.txt"\n', more="# a list\n\nfoo\n  bar \n#baz\n")

    assert [word.text for word in pack.words] == ["foo", "bar", "#baz"]


def test_lexicon_version_changes_with_every_byte(tmp_path: Path) -> None:
    """Of the pack and of the lists beside it."""
    rest = GROUP + 'file = "more.txt"\n'
    versions = [load(tmp_path, rest, more=more).version for more in ("aa", "aa", "aaa")]

    assert versions[0] == versions[1] != versions[2]
    assert len(versions[0]) == 12


def test_lexicon_same_form_with_the_same_verdict_is_one_word(tmp_path: Path) -> None:
    """Traditional and simplified may both be listed."""
    pack = load(tmp_path, GROUP + 'words = ["領導", "领导", "领 导"]\n')

    assert [word.text for word in pack.words] == ["領導"]


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("[[group]", "mine.toml: the file: expected TOML in UTF-8"),
        ("", "mine.toml: the file: expected at least one word or pattern, came 'none'"),
        ('[[group]]\nwords = ["aa"]\n', "group[0]: expected a field `category`, came \"fields ['words']\""),
        (GROUP + "words = [3]\n", "group[0].words[0]: expected `str | object`, came 3"),
        (GROUP + "words = 3\n", "group[0].words: expected `array`, came 3"),
        (GROUP + 'level = 9\nwords = ["aa"]\n', "group[0].level: expected `int` <= 4, came 9"),
        (GROUP + 'action = "ban"\nwords = ["aa"]\n', "group[0].action: expected one of pass, mask, hold, shadow, reject, mute, came 'ban'"),
        (GROUP + 'word = ["aa"]\n', "group[0]: expected no field `word`, came"),
        (GROUP + 'words = ["aa", "aa"]\n', "group[0].words[1]: expected a word that is not in group[0].words[0] already, came 'aa'"),
        (GROUP + 'words = ["微信"]\n' + GROUP + 'level = 3\nwords = ["微 信"]\n', "group[1].words[0]: expected the verdict of group[0].words[0], which looks alike, came '微 信'"),
        (GROUP + 'words = ["!?"]\n', "group[0].words[0]: expected a word with letters, digits or characters, came '!?'"),
        (GROUP + 'words = ["微"]\n', "group[0].words[0]: expected a word of two characters or more, came '微'"),
        ('allow = ["。"]\n' + GROUP + 'words = ["aa"]\n', "allow[0]: expected a word with letters"),
        (GROUP + 'file = "../x.txt"\n', "group[0].file: expected the name of a file beside the pack, came '../x.txt'"),
        (GROUP + 'file = "none.txt"\n', "none.txt: the file: expected a readable file"),
        (PATTERN + 'pattern = "("\n', "pattern[0].pattern: expected a valid regex"),
        (PATTERN + 'pattern = "(a+)+$"\n', "pattern[0].pattern: expected a regex whose matches have at most 128"),
        (PATTERN + 'pattern = "aa"\n' + PATTERN + 'pattern = "bb"\n', "pattern[1].id: expected a word that is not in pattern[0].id already, came 'p'"),
        (PATTERN + 'pattern = "aa"\nview = "tight"\n', "pattern[0].view: expected one of plain, digits, came 'tight'"),
    ],
)  # fmt: skip
def test_lexicon_a_bad_pack_is_told_what_is_wrong(tmp_path: Path, rest: str, said: str) -> None:
    """The file, the entry, what was expected and what came."""
    assert said in refused(tmp_path, rest)


def test_lexicon_lists_have_bounds(tmp_path: Path) -> None:
    """Of the length of a word, their number, and bytes that are text."""
    rest = GROUP + 'file = "more.txt"\n'
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")

    assert "line 2: expected at most 64 characters" in refused(
        tmp_path, rest, more="aa\n" + "b" * 65
    )
    assert "expected UTF-8" in refused(tmp_path, GROUP + 'file = "bytes.txt"\n')


def test_lexicon_number_of_words_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that is too long is refused, not loaded in part."""
    monkeypatch.setattr("liveroom_plugins.moderation.lexicon.MAX_WORDS", 2)

    assert "expected at most 2 words" in refused(tmp_path, GROUP + 'words = ["aa", "bb", "cc"]\n')


def test_lexicon_number_of_patterns_is_bounded(tmp_path: Path) -> None:
    """Each costs time on many texts."""
    rows = "".join(
        f'[[pattern]]\nid = "p{n}"\ncategory = "x"\npattern = "x{n}"\n' for n in range(65)
    )

    assert "pattern: expected at most 64, came 65" in refused(tmp_path, rows)


def test_lexicon_a_hundred_thousand_words_load(tmp_path: Path) -> None:
    """A list of the size that operators bring."""
    words = "\n".join(f"w{n:06}x" for n in range(100_000))
    pack = load(tmp_path, GROUP + 'file = "more.txt"\n', more=words)

    assert len(pack.words) == 100_000


def test_lexicon_levels_by_category() -> None:
    """Level 1 counts from the setting 1 on; a category's own setting goes before the overall one."""
    levels = Levels(2, {"swearing": 0, "bullying": 4})

    assert [levels.admits("aggression", level) for level in (1, 2, 3)] == [True, True, False]
    assert not levels.admits("swearing", 1)
    assert levels.admits("bullying", 4)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_lexicon_shipped_packs_are_marked_as_samples(file: Path) -> None:
    """They load, and say that they are no complete list."""
    pack = load_pack(file)

    assert pack.name == file.stem
    assert pack.sample


def test_lexicon_abuse_has_the_eight_categories() -> None:
    """A few dozen entries each."""
    (pack,) = load_shipped("abuse")
    sizes: dict[str, int] = {}
    for word in pack.words:
        sizes[word.category] = sizes.get(word.category, 0) + 1

    assert sorted(sizes) == sorted(
        ["aggression", "bullying", "disability", "misogyny", "ethnicity", "sex_terms", "sexuality", "swearing"]
    )  # fmt: skip
    assert min(sizes.values()) >= 24
