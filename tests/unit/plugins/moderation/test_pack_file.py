"""The file format's own refusals; the rest is tested with the lexicon."""

from __future__ import annotations

from pathlib import Path

import pytest

from liveroom_plugins.moderation.pack_file import PackError, read_bytes, read_row, read_words


FILE = Path("mine.toml")


def test_pack_file_error_points_at_the_value() -> None:
    """However deep it stands."""
    raw = b'name = "m"\nabout = ""\n[[group]]\ncategory = "x"\nwords = ["a", {text = "b", level = "high"}]\n'
    with pytest.raises(PackError) as raised:
        read_row(FILE, raw)

    assert raised.value.entry == "group[0].words[1].level"
    assert raised.value.came == "high"
    assert "int" in raised.value.expected


def test_pack_file_that_is_not_there_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are told before anything is parsed."""
    monkeypatch.setattr("liveroom_plugins.moderation.pack_file.MAX_BYTES", 3)
    (tmp_path / "big").write_text("1234", encoding="utf-8")

    with pytest.raises(PackError, match="readable file"):
        read_bytes(tmp_path / "none")
    with pytest.raises(PackError, match="at most 3 bytes, came 4"):
        read_bytes(tmp_path / "big")


def test_pack_file_words_are_stripped() -> None:
    """Spaces around a word are not part of it; a comment needs its space."""
    assert read_words(FILE, b"# c\n a b \r\n\n#1\n") == ["a b", "#1"]
