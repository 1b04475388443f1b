"""Views and their way back to the original."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

from liveroom_plugins.moderation.corpus.measure import benign_lines
from liveroom_plugins.moderation.normalise import DIGIT, REMEMBERED, VIEWS, View, fingerprint, look
from liveroom_plugins.moderation.sound import spelled
from liveroom_plugins.moderation.tables import digits_of


DRESSED = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from(
            "微信傻逼加ＶＸ𝐕ⓧхаѕ領臺薇🐎亻言女马①九玖０8aA1@$ .-_\u200b\u202e\ufe0f\u0301，。"
        ),
    ),
    max_size=40,
)
TEXT_VIEWS = [view for name, view in VIEWS.items() if "sound" not in name]
ALL = pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)


@ALL
@settings(deadline=None)  # tables are loaded on first use
@given(text=DRESSED)
def test_normalise_trace_gives_the_same_text(view: View, text: str) -> None:
    """The quick way and the way with offsets agree."""
    assert view.trace(text).text == view.text(text)


@ALL
@settings(deadline=None)  # tables are loaded on first use
@given(text=DRESSED)
def test_normalise_offsets_lie_within_the_original(view: View, text: str) -> None:
    """Every character of a view comes from a span of the text, and spans go forward."""
    track = view.trace(text)

    assert len(track.text) == len(track.starts) == len(track.ends) == len(track.runs)
    for start, end in zip(track.starts, track.ends, strict=True):
        assert 0 <= start < end <= len(text)
    assert track.starts == sorted(track.starts)
    assert track.ends == sorted(track.ends)


@pytest.mark.parametrize("view", TEXT_VIEWS, ids=lambda view: view.name)
@settings(deadline=None)  # tables are loaded on first use
@given(text=DRESSED)
def test_normalise_twice_is_once(view: View, text: str) -> None:
    """A view of a view is that view."""
    if view.name == "pieces":
        return  # what pieces make may be a piece again
    once = view.text(text)

    assert view.text(once) == once


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("tight", "Ｆ u.u-c\u200bk!!", "fuck"),
        ("tight", "加加 微微·信信信", "加微信"),
        ("tight", "天天特價", "天特价"),
        ("han", "加1微b信c！", "加微信"),
        ("pieces", "微亻言 草泥🐎", "微信草泥马"),
        ("leet", "5h1t @ss", "shitas"),
        ("digits", "一三八-①②③④ ⑤", "138-1234-5"),
        ("plain", "ＷＷＷ．Ａb。com", "www.ab。com"),
    ],
)
def test_normalise_views(name: str, text: str, seen: str) -> None:
    """Each view undoes what it is made for."""
    assert VIEWS[name].text(text) == seen


@pytest.mark.parametrize("text", ["加 wei 信", "jia weixin", "佳薇芯", "jia'wei'xin"])
def test_normalise_sound_mixes_spelling_and_characters(text: str) -> None:
    """Pinyin, characters and both together sound the same."""
    assert VIEWS["sound"].text(text) == spelled("jiaweixin")


def test_normalise_spans_point_at_the_original() -> None:
    """A character of the view knows the run that it stands for."""
    track = VIEWS["tight"].trace("x加 \u200b加微，信")

    assert track.text == "x加微信"
    assert track.starts == [0, 1, 5, 7]
    assert track.ends == [1, 5, 6, 8]
    assert track.runs == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("name", "text", "concerned"),
    [
        ("han", "加1微", True),
        ("han", "加. a-微", True),
        ("han", "加微1", False),
        ("han", "加.微。信", False),
        ("leet", "sh1t", True),
        ("leet", "13 8", False),
        ("pieces", "好女马", True),
        ("pieces", "好女人", False),
        ("digits", "1二③4五", True),
        ("digits", "1234", False),
    ],
)
def test_normalise_a_view_knows_what_concerns_it(name: str, text: str, concerned: bool) -> None:
    """Texts that a view would not change much are spared it."""
    assert bool(VIEWS[name].concerns(text)) is concerned


@pytest.mark.parametrize("text", ["fuuck", "加微微信"])
def test_normalise_runs_are_noticed(text: str) -> None:
    """Whether anything was drawn together is known without offsets."""
    assert VIEWS["tight"].has_runs(text)
    assert not VIEWS["tight"].has_runs(fingerprint(text))


def test_normalise_every_common_digit_counts() -> None:
    """What the view makes a digit, the pre-check takes for one (rare scripts aside)."""
    blocks = [
        *range(0x2000),
        *range(0x2070, 0x209A),
        *range(0x2460, 0x2500),
        *range(0x2776, 0x2794),
    ]
    blocks += [*range(0x3000, 0x3040), *range(0x3200, 0x3300), *range(0x4E00, 0xA000)]
    chars = [chr(code) for code in [*blocks, *range(0xFF10, 0xFF1A)]]
    digits = [char for char in chars if re.fullmatch(r"\d|\(\d\)|\d-", digits_of(char))]
    known = {
        char for char in digits if unicodedata.name(char).split()[0] not in {"ETHIOPIC", "NEW"}
    }

    assert {char for char in known if not re.match(DIGIT, char)} == set()


@pytest.mark.parametrize(
    ("one", "other"), [("666", "66666 6"), ("好看！", "好 看看看"), ("😂", "😂😂😂"), ("Ｏk", "OK")]
)
def test_normalise_fingerprints_of_the_same_are_equal(one: str, other: str) -> None:
    """What differs in show only has one fingerprint."""
    assert fingerprint(one) == fingerprint(other) != ""


BASIC = {"tight", "sound", "plain"}
TYPED = st.text(
    st.sampled_from("主播好看的领領一二三九口女马666199aAnvx信哈哈。，!.?@$|+-* ～😂①Ｖ微\u200b"),
    max_size=14,
)
"""As viewers type: mostly ordinary, now and then not."""


def concerning(text: str) -> dict[str, str]:
    """Return what a text is in each view that concerns it, one view after the other."""
    views = [view for view in VIEWS.values() if view.name in BASIC or view.concerns(text)]
    return {view.name: view.text(text) for view in views}


@settings(deadline=None, max_examples=400)  # tables are loaded on first use
@given(text=st.one_of(TYPED, DRESSED))
def test_normalise_look_is_all_views_that_concern(text: str) -> None:
    """The short ways for ordinary text give what the long way gives."""
    assert {view.name: seen for view, seen in look(text).items()} == concerning(text)


def test_normalise_look_at_what_people_say() -> None:
    """Every benign line, in the same way."""
    for _, line in benign_lines():
        assert {view.name: seen for view, seen in look(line).items()} == concerning(line)


def test_normalise_remembers_the_latest_texts_only() -> None:
    """Memory is bounded however many different texts come."""
    for n in range(2 * REMEMBERED):
        look(f"text {n}")

    assert look.cache_info().currsize == REMEMBERED
