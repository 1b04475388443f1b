"""What is found in a text, where, and what is let be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from liveroom_plugins.moderation.hits import Hit
from liveroom_plugins.moderation.lexicon import Action, Levels, load_pack, load_shipped
from liveroom_plugins.moderation.matcher import Matcher


PACK = """
name = "mine"
about = "a test"
allow = ["逼真", "稍微信", "made in china"]

[[group]]
category = "bullying"
level = 2
action = "mask"
words = [
  { text = "傻逼", sound = true }, "加微信", "微信", "天天特价", "妈妈", "v信", "支那",
  { text = "牛逼", allow = ["牛逼克拉斯"] }, "shit", "ass", { text = "fuck", part = true }, "go die", "vx",
]

[[pattern]]
id = "phone"
category = "phone"
level = 1
action = "hold"
view = "digits"
pattern = '(?<!\\d)1[3-9]\\d-?\\d{4}-?\\d{4}(?!\\d)'

[[pattern]]
id = "link"
category = "link"
action = "reject"
pattern = 'www[.。][a-z]{2,20}'
needs = ["www"]
"""

BARE = """
name = "bare"
about = "a test"

[[pattern]]
id = "asks"
category = "asks"
pattern = '好.吗'
"""


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    file = tmp_path_factory.mktemp("pack") / "mine.toml"
    file.write_text(PACK, encoding="utf-8")
    return Matcher([load_pack(file)])


def found(matcher: Matcher, text: str) -> list[str]:
    """Return what is found, as it stands in the text."""
    return [text[hit.start : hit.end] for hit in matcher.find(text)]


@pytest.mark.parametrize(
    ("text", "spot", "view"),
    [
        ("你个傻逼", "傻逼", "tight"),
        ("傻\u200b\u2066逼", "傻\u200b\u2066逼", "tight"),
        ("傻 逼!", "傻 逼", "tight"),
        ("傻傻傻逼逼", "傻傻傻逼逼", "tight"),
        ("今天天天天特價", "天天天天特價", "tight"),
        ("what the ＦＵＣＫ", "ＦＵＣＫ", "tight"),
        ("ѕhіt happens", "ѕhіt", "tight"),
        ("s.h.i.t", "s.h.i.t", "tight"),
        ("fuckyou", "fuck", "tight"),
        ("加1微b信", "加1微b信", "han"),
        ("沙比主播", "沙比", "sound"),
        ("sha bi", "sha bi", "sound"),
        ("加薇信", "加薇信", "sound"),
        ("加wei信", "加wei信", "sound"),
        ("加微亻言", "加微亻言", "pieces"),
        ("5h1t", "5h1t", "leet"),
        ("①叁捌 1234 ５６7八", "①叁捌 1234 ５６7八", "digits"),
        ("去 ＷＷＷ.shop 看", "ＷＷＷ.shop", "plain"),
    ],
)
def test_matcher_finds_words_in_any_dress(
    matcher: Matcher, text: str, spot: str, view: str
) -> None:
    """At their place in the original, and says in which view."""
    hits = matcher.find(text)

    assert spot in [text[hit.start : hit.end] for hit in hits if hit.view == view]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "好看",
        "class pass assist",
        "push it",
        "this hit different",
        "was so good",
        "as so",
        "as",
        "shitake",
        "今天特价",
        "妈",
        "逼真",
        "稍微信你一次",
        "稍微，信你一回",
        "信用卡",
        "vx300",
        "av信",
        "made in china",
        "A55",
        "m8 gr8",
        "1381234567",
        "138123456789",
        "傻呵呵呵呵呵逼",
        "傻abcde逼",
        "威心",
        "嘉威新",
    ],
)
def test_matcher_leaves_honest_text_alone(matcher: Matcher, text: str) -> None:
    """Parts of other words, words across two, other sounds, other numbers."""
    assert found(matcher, text) == []


def test_matcher_allowed_phrase_excuses_only_what_it_covers(matcher: Matcher) -> None:
    """The phrase of a pack, or of one entry, and no more than is in it or begins after it."""
    assert found(matcher, "牛逼克拉斯") == []
    assert found(matcher, "牛逼克拉斯，你牛逼") == ["牛逼"]
    assert found(matcher, "傻逼真") == ["傻逼"]
    assert found(matcher, "牛牛逼逼克拉斯") == ["牛牛逼逼"]


def test_matcher_pinyin_of_two_syllables_must_be_spelled_out(matcher: Matcher) -> None:
    """Homophones of two syllables are everyday words."""
    assert found(matcher, "wei xin") == ["wei xin"]
    assert found(matcher, "威信") == []


def test_matcher_clause_ends_part_two_characters(matcher: Matcher) -> None:
    """微，信 is two clauses, unless it stands alone."""
    assert found(matcher, "说微，信他") == []
    assert found(matcher, "微，信") == ["微，信"]


def test_matcher_one_hit_per_rule_and_place(matcher: Matcher) -> None:
    """What several views find is told once; what stands twice is told twice."""
    assert found(matcher, "傻逼1傻逼") == ["傻逼", "傻逼"]


def test_matcher_hits_carry_all_that_a_log_needs(matcher: Matcher) -> None:
    """Rule, version, category, level, action and span."""
    (hit,) = matcher.find("他说 go-die")

    assert hit == Hit(
        "mine:go die", "mine", matcher.versions["mine"], "bullying", 2, Action.MASK, 3, 9, "tight"
    )


def test_matcher_levels_are_a_rooms_own(matcher: Matcher) -> None:
    """A lenient room lets pass what a strict one finds."""
    text = "傻逼 13812345678"

    assert [hit.rule for hit in matcher.find(text, Levels(1))] == ["mine:phone"]
    assert matcher.find(text, Levels(4, {"phone": 0, "bullying": 1})) == []


def test_matcher_packs_stand_beside_each_other() -> None:
    """A host's text meets the advertising pack, a viewer's does not."""
    viewer = Matcher(load_shipped("abuse", "contact"))
    host = Matcher(load_shipped("ads_cn", "contact"))

    assert sorted(host.versions) == ["ads_cn", "contact"]
    assert found(host, "全网最低价，最后一件") == ["全网最低", "全网最低价", "最低价"]
    assert found(viewer, "全网最低价，最后一件") == []
    assert found(host, "第一次来的宝宝") == []


def test_matcher_without_packs_finds_nothing() -> None:
    """An operator may switch all of them off."""
    assert Matcher([]).find("傻逼 13812345678") == []


@settings(deadline=None)
@given(
    text=st.text(
        st.sampled_from("傻逼加微信天特价妈v信xfuckashit138 .\u200b，1a薇亻言🐎$@5"), max_size=60
    )
)
def test_matcher_spans_lie_in_the_text(matcher: Matcher, text: str) -> None:
    """Whatever comes in, spans are in order, not empty, and within."""
    hits = matcher.find(text)

    assert all(0 <= hit.start < hit.end <= len(text) for hit in hits)
    assert [hit.start for hit in hits] == sorted(hit.start for hit in hits)


@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_matcher_takes_any_text(matcher: Matcher, text: str) -> None:
    """No text makes it fail."""
    assert isinstance(matcher.find(text), list)


def test_matcher_half_characters_do_no_harm(matcher: Matcher) -> None:
    """Lone surrogates, which the wire does not let in, are separators."""
    assert found(matcher, "\ud800傻\udfff逼") == ["傻\udfff逼"]
    assert found(matcher, "\ud800 www.shop") == ["www.shop"]


def test_matcher_knows_the_categories_of_its_packs(matcher: Matcher) -> None:
    """Of words and of patterns."""
    assert matcher.categories == {"bullying", "phone", "link"}


def test_matcher_pattern_that_needs_nothing_is_run_on_any_text(tmp_path: Path) -> None:
    """Text in which no word was found is not let by for that."""
    file = tmp_path / "bare.toml"
    file.write_text(BARE, encoding="utf-8")

    assert found(Matcher([load_pack(file)]), "主播好看吗") == ["好看吗"]


def test_matcher_new_packs_judge_what_was_said_before(matcher: Matcher, tmp_path: Path) -> None:
    """What is remembered of a text is no verdict."""
    file = tmp_path / "mine.toml"
    file.write_text(PACK.replace('"支那",', '"支那", "主播好看",'), encoding="utf-8")
    text = "主播好看"

    assert found(matcher, text) == []
    assert found(Matcher([load_pack(file)]), text) == [text]
    assert found(matcher, text) == []
